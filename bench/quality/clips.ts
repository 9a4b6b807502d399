/** The held-out test material: what it needs on disk, how low-resolution input is made from it, and real H.264/VP8 compression. */
import ffmpegInstaller from '@ffmpeg-installer/ffmpeg';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Rgb } from './colour.ts';
import { clampByte, i420Chroma, i420Luma, i420ToRgb, rgbLuma, rgbToI420 } from './colour.ts';
import type { I420 } from './planes-model.ts';
import { readPng } from './png.ts';
import type { Plane } from './resize.ts';
import { resizePlane } from './resize.ts';

/** One low-resolution frame in the forms that upscalers take, and the luma it should become. */
export interface TestFrame {
  i420: I420;
  rgb: Rgb;
  /** the input's luma, not rounded where it was computed from RGB: what resizes and luma-only networks read */
  luma: Plane;
  truth: Plane;
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

const FFMPEG = ffmpegInstaller.path;
const STILLS = ['Set5', 'Set14'];
const VID4 = ['calendar', 'city', 'foliage', 'walk'];

/** Held-out real clips, 1280x720; `from` is the first frame used. */
const VIDEOS = [
  { name: 'man-a', file: 'webcam/fake/man_gt_1280x720.mp4', from: 0 },
  { name: 'man-b', file: 'webcam/fake/man_gt_1280x720.mp4', from: 100 },
  { name: 'juggle', file: 'train/video/sam2_gallery/05_default_juggle.mp4', from: 60 },
];

export interface Compression {
  codec: 'h264' | 'vp8';
  kbps: number;
}

/** Bit rates of a call at 320x180 (x4) and at 640x360 (x2), in kbit/s. */
export const COMPRESSIONS: Record<number, Compression[]> = {
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

/** Files and folders of `data` that the benchmark needs and that are not there. */
export function missingData(data: string): string[] {
  const needed = [
    ...VID4.map((name) => `test/vid4/${name}`),
    ...STILLS.map((name) => `test/${name}`),
    ...new Set(VIDEOS.map(({ file }) => file)),
  ];
  return needed.filter((path) => !existsSync(join(data, path)));
}

const roundPlane = (plane: Plane): Uint8Array => Uint8Array.from(plane.data, clampByte);

function cropRgb(rgb: Rgb, width: number, height: number): Rgb {
  const out = new Float32Array(3 * width * height);
  for (let c = 0; c < 3; c++)
    for (let y = 0; y < height; y++) {
      const from = c * rgb.width * rgb.height + y * rgb.width;
      out.set(rgb.data.subarray(from, from + width), (c * height + y) * width);
    }
  return { width, height, data: out };
}

/** The literature's input: RGB, antialiased bicubic, rounded to 8 bits. */
function stillFrame(picture: Rgb, scale: number, small?: Rgb): TestFrame {
  const [width, height] = [Math.floor(picture.width / scale), Math.floor(picture.height / scale)];
  const whole = cropRgb(picture, width * scale, height * scale);
  const shrink = (): Rgb => {
    const n = whole.width * whole.height;
    const data = new Float32Array(3 * width * height);
    for (let c = 0; c < 3; c++) {
      const plane = { width: whole.width, height: whole.height, data: whole.data.subarray(c * n, (c + 1) * n) };
      data.set(roundPlane(resizePlane(plane, width, height, 'bicubic')), c * width * height);
    }
    return { width, height, data };
  };
  const rgb = small ?? shrink();
  return { rgb, i420: rgbToI420(rgb), luma: rgbLuma(rgb), truth: rgbLuma(whole) };
}

export function* stillClips(data: string): Generator<TestClip> {
  for (const set of STILLS)
    for (const file of readdirSync(join(data, 'test', set)).filter((name) => name.endsWith('HR.png'))) {
      const read = (name: string): Rgb => readPng(readFileSync(join(data, 'test', set, name)));
      const frame = stillFrame(read(file), 4, read(file.replace('HR', 'LR')));
      yield { set, name: file.slice(0, 7), frames: [frame], warm: 0 };
    }
}

export function* vid4Clips(data: string, scale: number): Generator<TestClip> {
  for (const name of VID4) {
    const folder = join(data, 'test/vid4', name);
    const files = readdirSync(folder).filter((file) => file.endsWith('.png'));
    const frames = files.sort().map((file) => stillFrame(readPng(readFileSync(join(folder, file))), scale));
    yield { set: 'vid4', name, frames, warm: 0 };
  }
}

function run(args: string[], input?: Uint8Array): Buffer {
  const { status, stdout, stderr, error } = spawnSync(FFMPEG, ['-v', 'error', '-y', ...args], {
    input,
    maxBuffer: 2 ** 31,
  });
  if (status !== 0) throw new Error(`ffmpeg ${args.join(' ')} failed: ${error?.message ?? stderr.toString().trim()}`);
  return stdout;
}

function splitFrames(raw: Buffer, width: number, height: number): I420[] {
  const size = width * height + 2 * Math.ceil(width / 2) * Math.ceil(height / 2);
  return Array.from({ length: Math.floor(raw.length / size) }, (_, t) => ({
    width,
    height,
    data: new Uint8Array(raw.subarray(t * size, (t + 1) * size)),
  }));
}

function readVideo(file: string, from: number, count: number): I420[] {
  const select = `select=between(n\\,${from}\\,${from + count - 1})`;
  const raw = run(['-i', file, '-vf', select, '-vsync', '0', '-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-']);
  const frames = splitFrames(raw, 1280, 720);
  if (frames.length !== count) throw new Error(`${file}: wanted ${count} frames from ${from} on, got ${frames.length}`);
  return frames;
}

/** A repeatable, roughly normal noise source (sum of uniforms of a 32-bit generator). */
function noiseSource(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return () => uniform() + uniform() + uniform() + uniform() - 2; // standard deviation 0.577
}

/** Gaussian, separable, replicated border. */
function soften(plane: Plane, sigma: number): Plane {
  const radius = Math.ceil(3 * sigma);
  const weights = Float32Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * sigma ** 2)),
  );
  const sum = weights.reduce((a, b) => a + b, 0);
  const { width, height } = plane;
  const pass = (source: Float32Array, length: number, step: number, lines: number, lineStep: number): Float32Array => {
    const out = new Float32Array(source.length);
    for (let line = 0; line < lines; line++)
      for (let i = 0; i < length; i++) {
        let value = 0;
        for (let k = -radius; k <= radius; k++) {
          const at = Math.max(0, Math.min(length - 1, i + k));
          value += (weights[k + radius] ?? 0) * (source[line * lineStep + at * step] ?? 0);
        }
        out[line * lineStep + i * step] = value / sum;
      }
    return out;
  };
  return { width, height, data: pass(pass(plane.data, width, 1, height, width), height, width, width, 1) };
}

/** Camera of the compressed setting: a little out of focus, a little noise, then the resize that capture does. */
const CAMERA = { blurSigma: 1, noiseLevels: 2 };

function shrinkFrame(frame: I420, scale: number, camera: boolean, noise: () => number): I420 {
  const planes = [i420Luma(frame), ...i420Chroma(frame)].map((plane, index) => {
    const sharp = camera ? soften(plane, index ? CAMERA.blurSigma / 2 : CAMERA.blurSigma) : plane;
    const small = resizePlane(sharp, plane.width / scale, plane.height / scale, 'bicubic');
    if (camera) small.data.forEach((value, i) => (small.data[i] = value + (noise() * CAMERA.noiseLevels) / 0.577));
    return roundPlane(small);
  });
  return { width: frame.width / scale, height: frame.height / scale, data: new Uint8Array(Buffer.concat(planes)) };
}

/** Encode as a call does (no look-ahead, constant bit rate), decode again; the bit rate is what the stream really took. */
export function compress(frames: I420[], { codec, kbps }: Compression): { frames: I420[]; kbps: number } {
  const [first] = frames;
  if (!first) return { frames: [], kbps: 0 };
  const folder = mkdtempSync(join(tmpdir(), 'quality-'));
  try {
    const file = join(folder, codec === 'h264' ? 'stream.mp4' : 'stream.webm');
    const h264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', 'baseline'];
    const vp8 = [
      '-c:v',
      'libvpx',
      '-deadline',
      'realtime',
      '-cpu-used',
      '8',
      '-lag-in-frames',
      '0',
      '-error-resilient',
      '1',
    ];
    const raw = [
      '-f',
      'rawvideo',
      '-pix_fmt',
      'yuv420p',
      '-s',
      `${first.width}x${first.height}`,
      '-r',
      '30',
      '-i',
      '-',
    ];
    const rate = [
      '-threads',
      '1',
      '-g',
      '3000',
      '-b:v',
      `${kbps}k`,
      '-maxrate',
      `${kbps}k`,
      '-bufsize',
      `${kbps / 2}k`,
    ];
    run(
      [...raw, ...rate, ...(codec === 'h264' ? h264 : [...vp8, '-qmin', '2', '-qmax', '60']), file],
      Buffer.concat(frames.map((f) => f.data)),
    );
    const decoded = run(['-i', file, '-vsync', '0', '-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-']);
    const out = splitFrames(decoded, first.width, first.height);
    if (out.length !== frames.length)
      throw new Error(`${codec} at ${kbps} kbit/s gave ${out.length} of ${frames.length} frames`);
    return { frames: out, kbps: (statSync(file).size * 8 * 30) / frames.length / 1000 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The real clips at one scale: clean bicubic input first, then the camera and each compression. */
export function* videoClips(data: string, scale: number, warm: number, scored: number): Generator<TestClip> {
  for (const { name, file, from } of VIDEOS) {
    const full = readVideo(join(data, file), from, warm + scored);
    const asFrames = (small: I420[]): TestFrame[] =>
      small.map((i420, t) => ({ i420, rgb: i420ToRgb(i420), luma: i420Luma(i420), truth: i420Luma(full[t] ?? i420) }));
    const clean = full.map((frame) => shrinkFrame(frame, scale, false, () => 0));
    yield { set: 'video clean', name, frames: asFrames(clean), warm };
    const noise = noiseSource(from + 1);
    const camera = full.map((frame) => shrinkFrame(frame, scale, true, noise));
    for (const compression of COMPRESSIONS[scale] ?? []) {
      const { frames, kbps } = compress(camera, compression);
      yield {
        set: `webcam ${compression.codec} ${compression.kbps} kbit/s`,
        name,
        frames: asFrames(frames),
        warm,
        kbps,
      };
    }
  }
}
