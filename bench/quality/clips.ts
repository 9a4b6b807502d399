/** The held-out test material by parts: what each needs on disk, and how its clips are made. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cropRgb, shrinkI420, shrinkRgb, webcam } from './camera.ts';
import { compress, readPicture, readVideo, type Compression } from './codec.ts';
import { i420Chroma, i420Luma, i420ToRgb, rgbLuma, rgbToI420, type I420, type Rgb } from './colour.ts';
import { readPng } from './png.ts';
import type { Plane } from './resize.ts';

/** One low-resolution frame in the forms that upscalers take, and what it should become. */
export interface TestFrame {
  i420: I420;
  rgb: Rgb;
  /** the input's luma, not rounded where it was computed from RGB: what resizes and luma-only networks read */
  luma: Plane;
  truth: Plane;
  truthChroma: [Plane, Plane];
}

/** Frames in order; scores count from frame `warm` on, so recurrent models have history as they do in a call. */
export interface TestClip {
  set: string;
  name: string;
  frames: TestFrame[];
  warm: number;
  /** what the compressed input really took; undefined for uncompressed input */
  kbps?: number;
}

export interface ClipSettings {
  /** Folder of --data; parts that need none get an empty string. */
  data: string;
  /** Frames of the videos before scores count, and frames that count. */
  warm: number;
  scored: number;
  /** Few clips: shows that everything runs; its numbers are not the benchmark's. */
  quick: boolean;
}

export interface Part {
  scale: number;
  title: string;
  /** Paths in --data. */
  needs: string[];
  clips(settings: ClipSettings): Generator<TestClip>;
}

const VID4 = ['calendar', 'city', 'foliage', 'walk'];

/** Held-out real clips, 1280x720; `from` is the first frame used. */
const VIDEOS = [
  { name: 'man-a', file: 'webcam/fake/man_gt_1280x720.mp4', from: 0 },
  { name: 'man-b', file: 'webcam/fake/man_gt_1280x720.mp4', from: 100 },
  { name: 'juggle', file: 'train/video/sam2_gallery/05_default_juggle.mp4', from: 60 },
];
const VIDEO_FILES = [...new Set(VIDEOS.map(({ file }) => file))];

/** Bit rates of a call at 320x180 (x4) and at 640x360 (x2). */
export const COMPRESSIONS: Readonly<Record<number, Compression[]>> = {
  4: [
    { codec: 'h264', kbps: 60 },
    { codec: 'h264', kbps: 120 },
    { codec: 'h264', kbps: 250 },
    { codec: 'vp8', kbps: 120 },
  ],
  2: [
    { codec: 'h264', kbps: 200 },
    { codec: 'h264', kbps: 400 },
    { codec: 'h264', kbps: 800 },
  ],
};

/** @param picture sides are cut to multiples of `scale`; `small` where the set brings its own low-resolution side */
export function pictureFrame(picture: Rgb, scale: number, small?: Rgb): TestFrame {
  const [width, height] = [Math.floor(picture.width / scale), Math.floor(picture.height / scale)];
  const whole = cropRgb(picture, width * scale, height * scale);
  const rgb = small ?? shrinkRgb(whole, scale);
  const truthChroma = i420Chroma(rgbToI420(whole));
  return { rgb, i420: rgbToI420(rgb), luma: rgbLuma(rgb), truth: rgbLuma(whole), truthChroma };
}

function videoFrames(small: I420[], full: I420[]): TestFrame[] {
  if (small.length !== full.length) throw new Error(`${small.length} small frames for ${full.length} full ones`);
  return small.map((i420, t) => {
    const truth = full[t] as I420;
    const frame = { i420, rgb: i420ToRgb(i420), luma: i420Luma(i420) };
    return { ...frame, truth: i420Luma(truth), truthChroma: i420Chroma(truth) };
  });
}

function* stills({ data, quick }: ClipSettings): Generator<TestClip> {
  for (const set of quick ? ['Set5'] : ['Set5', 'Set14']) {
    const read = (name: string): Rgb => readPng(readFileSync(join(data, 'test', set, name)));
    const names = readdirSync(join(data, 'test', set)).filter((name) => name.endsWith('HR.png'));
    for (const name of names.sort()) {
      const frame = pictureFrame(read(name), 4, read(name.replace('HR', 'LR')));
      yield { set, name: name.slice(0, 7), frames: [frame], warm: 0 };
    }
  }
}

function* vid4({ data, quick }: ClipSettings, scale: number): Generator<TestClip> {
  for (const name of quick ? VID4.slice(0, 1) : VID4) {
    const folder = join(data, 'test/vid4', name);
    const files = readdirSync(folder).filter((file) => file.endsWith('.png'));
    const used = files.sort().slice(0, quick ? 4 : files.length);
    const frames = used.map((file) => pictureFrame(readPng(readFileSync(join(folder, file))), scale));
    yield { set: 'Vid4', name, frames, warm: 0 };
  }
}

export const compressedSet = (set: string, { codec, kbps }: Compression): string => `${set} ${codec} ${kbps} kbit/s`;

/** Clean bicubic input first, then the webcam and each compression. */
export function* variants(
  set: string,
  name: string,
  full: I420[],
  scale: number,
  warm: number,
  compressions: Compression[],
): Generator<TestClip> {
  const clean = full.map((frame) => shrinkI420(frame, scale));
  yield { set: `${set} clean`, name, frames: videoFrames(clean, full), warm };
  const camera = webcam(1);
  const seen = full.map((frame) => shrinkI420(frame, scale, camera));
  for (const compression of compressions) {
    const { frames, kbps } = compress(seen, compression);
    yield { set: compressedSet(set, compression), name, frames: videoFrames(frames, full), warm, kbps };
  }
}

function* videos({ data, warm, scored, quick }: ClipSettings, scale: number): Generator<TestClip> {
  const compressions = COMPRESSIONS[scale] ?? [];
  for (const { name, file, from } of quick ? VIDEOS.slice(0, 1) : VIDEOS) {
    const full = readVideo(join(data, file), 1280, 720, from, warm + scored);
    yield* variants('webcam', name, full, scale, warm, quick ? compressions.slice(1, 2) : compressions);
  }
}

export const ASTRONAUT = fileURLToPath(new URL('../../testdata/quality/astronaut_480x384.webp', import.meta.url));

/** The committed picture under a slow sway by whole high-resolution pixels: quarter pixels in the input, and the truth is exact. */
export function astronautFrames(count: number): I420[] {
  const picture = readPicture(ASTRONAUT);
  const [width, height] = [416, 320];
  return Array.from({ length: count }, (_, t) => {
    const left = Math.round(32 + 26 * Math.sin((2 * Math.PI * t) / 120));
    const top = Math.round(32 + 20 * Math.sin((2 * Math.PI * t) / 90));
    return rgbToI420(cropRgb(picture, width, height, left, top));
  });
}

/** 104x80 is a seventh of 320x180; everything in it moves and is rich in detail, so a webcam's bits for a pixel would be too few. */
function* astronaut({ warm, scored }: ClipSettings): Generator<TestClip> {
  yield* variants('astronaut', 'astronaut', astronautFrames(warm + scored), 4, warm, [{ codec: 'h264', kbps: 60 }]);
}

export const PARTS: Readonly<Record<string, Part>> = {
  stills: { scale: 4, title: 'pictures', needs: ['test/Set5', 'test/Set14'], clips: stills },
  vid4: { scale: 4, title: 'Vid4', needs: VID4.map((name) => `test/vid4/${name}`), clips: (s) => vid4(s, 4) },
  video: { scale: 4, title: 'videos', needs: VIDEO_FILES, clips: (s) => videos(s, 4) },
  'vid4-x2': { scale: 2, title: 'Vid4', needs: VID4.map((name) => `test/vid4/${name}`), clips: (s) => vid4(s, 2) },
  'video-x2': { scale: 2, title: 'videos', needs: VIDEO_FILES, clips: (s) => videos(s, 2) },
  astronaut: { scale: 4, title: 'astronaut', needs: [], clips: astronaut },
};

/** What of `paths` is not in `data`; an empty folder is as bad as none. */
export const missingIn = (data: string, paths: readonly string[]): string[] =>
  paths.filter((path) => {
    const place = join(data, path);
    if (!existsSync(place)) return true;
    return !path.includes('.') && readdirSync(place).length === 0;
  });
