import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeAv1Stream } from '../../../../testing/av1-stream.ts';
import { makeBFrames } from '../../../../testing/b-frames.ts';
import { readFilm, type Film } from '../../../../testing/film.ts';
import { LEFT_HZ, RIGHT_HZ, opusTone, readSound } from '../../../../testing/opus-tone.ts';
import { makeStream, movingBar } from '../../../../testing/pictures.ts';
import { ContainerWriter } from '../container-writer.ts';
import { failureOf } from '../failure.ts';
import type { MediaItem, RecordingTarget, VideoItem } from '../messages.ts';
import { MuxSession } from '../mux-session.ts';
import { RecordingOutput } from '../recording-output.ts';
import type { StreamParameters } from '../video-parameters.ts';

/** From items to files, without a process between: what another program finds in them. */
const NOW = new Date('2026-11-30T18:05:57.250Z');
/** Somewhere in the broadcast's time. */
const FIRST = 9_000_000;

const TARGET: RecordingTarget = {
  kind: 'recording',
  folder: '/recordings',
  stem: 'room~ann_archive',
  container: 'auto',
  rotateSeconds: 3600,
  rotateBytes: 1_000_000_000,
};

let folder: string;
let keyframesWanted = 0;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'recording-'));
  keyframesWanted = 0;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function session(target: Partial<RecordingTarget> = {}): MuxSession {
  const output = new RecordingOutput({ ...TARGET, folder, ...target }, () => NOW);
  return new MuxSession(output, { onRunning: () => undefined, onNeedKeyframe: () => (keyframesWanted += 1) });
}

interface ResultOptions {
  readonly codec?: 'H264' | 'VP8';
  readonly frames: number;
  readonly width?: number;
  readonly keyframes?: readonly number[];
  readonly first?: number;
}

function result({ codec = 'H264', frames, width = 160, keyframes = [], first = FIRST }: ResultOptions): VideoItem[] {
  const options = { codec, width, height: 96, frames, keyframes, firstMediaTime: first };
  return makeStream(options).map(({ data, mediaTime, keyframe }) => {
    return { type: 'video', codec, data, mediaTime, keyframe, size: { width, height: 96 } };
  });
}

function sound(packets: number, first = FIRST): MediaItem[] {
  return opusTone(packets).map((data, index) => ({ type: 'audio', data, mediaTime: first + index * 1800 }));
}

/** In the order of their times, as they arrive. */
function feed(mux: MuxSession, ...tracks: readonly (readonly MediaItem[])[]): void {
  for (const item of tracks.flat().sort((a, b) => a.mediaTime - b.mediaTime)) mux.handle(item);
}

const file = (name: string): string => join(folder, name);
const files = (): string[] => readdirSync(folder).sort();

it.each([
  ['H264', 'mp4', 'h264', 'aac'],
  ['VP8', 'webm', 'vp8', 'opus'],
] as const)(
  '%s with sound becomes %s: every picture at its time, both channels, sound beside its pictures',
  async (codec, ending, video, audio) => {
    const mux = session();
    feed(mux, result({ codec, frames: 90 }), sound(150));
    mux.close();
    expect(files()).toEqual([`room~ann_archive_20261130T180557Z.${ending}`]);
    const name = file(files()[0] ?? '');
    const film = await readFilm(name);
    expect(film.video.codec).toContain(video);
    expect(film.times).toHaveLength(90);
    // WebM counts milliseconds.
    film.times.forEach((time, index) => expect(time).toBeCloseTo(index / 30, 2));
    expect(film.audio).toMatchObject([{ codec: expect.stringContaining(audio) as string }]);
    expect(film.audio[0]?.start).toBeCloseTo(0, 1);
    expect(film.audio[0]?.end).toBeCloseTo(3, 1);
    const heard = readSound(name);
    expect(heard.level('left', LEFT_HZ)).toBeGreaterThan(0.3);
    expect(heard.level('right', RIGHT_HZ)).toBeGreaterThan(0.3);
    expect(heard.level('left', RIGHT_HZ)).toBeLessThan(0.02);
    expect(heard.level('right', LEFT_HZ)).toBeLessThan(0.02);
  },
);

it.each([
  ['H264', 'mp4'],
  ['VP8', 'webm'],
] as const)(
  '%s: what lies on the disk before the end plays to within a second of the newest picture',
  async (codec, ending) => {
    const mux = session();
    feed(mux, result({ codec, frames: 90 }), sound(150));
    // As after kill -9: nothing completes it.
    const film = await readFilm(file(`room~ann_archive_20261130T180557Z.${ending}`));
    mux.abandon();
    expect(film.times.length).toBeGreaterThan(60);
    expect(film.times.at(-1)).toBeGreaterThan(2);
  },
);

it('a source with B-frames keeps its order and its times', async () => {
  const units = makeBFrames({ frames: 40, bFrames: 2, pyramid: true, firstPts: FIRST });
  const mux = session();
  for (const { data, pts, keyframe } of units) {
    mux.handle({ type: 'video', codec: 'H264', data, mediaTime: pts, keyframe, size: undefined });
  }
  mux.close();
  const film = await readFilm(file(files()[0] ?? ''));
  expect(film.times).toHaveLength(40);
  const [begin = 0] = film.times;
  film.times.forEach((time, index) => expect(time - begin).toBeCloseTo(index / 30, 3));
  expect([film.width, film.height]).toEqual([160, 96]);
});

it.each([1, 3])(
  'rotation of a source with %i B-frames: each picture in one file, which plays from its first',
  async (bFrames) => {
    const frames = 75;
    const units = makeBFrames({ frames, bFrames, pyramid: bFrames > 1, keyframeEvery: 24, firstPts: FIRST });
    // As they arrive: a picture when it can be decoded, a packet of sound at its time.
    const delay = bFrames > 1 ? 6000 : 3000;
    const arrivals = [
      ...sound(125).map((item) => ({ at: item.mediaTime, item })),
      ...units.map(({ data, pts, dts, keyframe }) => {
        const item: MediaItem = { type: 'video', codec: 'H264', data, mediaTime: pts, keyframe, size: undefined };
        return { at: dts + delay, item };
      }),
    ].sort((a, b) => a.at - b.at);
    const mux = session({ rotateSeconds: 0.5 });
    for (const { item } of arrivals) mux.handle(item);
    mux.close();
    const films = [];
    for (const name of files().sort((a, b) => a.length - b.length || a.localeCompare(b)))
      films.push(await readFilm(file(name)));
    expect(films.map(({ times }) => times.length)).toEqual([24, 24, 24, 3]);
    // A decoder that lacks a reference leaves pictures out, or shows another.
    const shown = films.flatMap((film) => film.times.map((_, index) => barOf(film, index)));
    expect(shown).toEqual(Array.from({ length: frames }, (_, number) => number));
    for (const { times, audio } of films) {
      const [begin = 0] = times;
      times.forEach((time, index) => expect(time - begin).toBeCloseTo(index / 30, 3));
      // Sound from the first picture to the last; in front of it AAC has silence.
      expect(audio[0]?.start).toBeLessThan(begin + 0.045);
      expect(audio[0]?.end).toBeGreaterThan((times.at(-1) ?? Infinity) - 0.045);
    }
  },
);

/** Which picture of makeBFrames() this is: the bar's place says it, among eighty. */
function barOf(film: Film, index: number): number {
  const difference = (number: number): number => {
    const wanted = movingBar(number, 160);
    let sum = 0;
    for (let x = 0; x < 160; x += 1) sum += Math.abs(film.luma(index, x, 48) - wanted(x, 48));
    return sum;
  };
  const sums = Array.from({ length: 80 }, (_, number) => difference(number));
  return sums.indexOf(Math.min(...sums));
}

it.each(['mp4', 'webm'] as const)('a source in AV1 becomes %s', async (container) => {
  const mux = session({ container });
  for (const { data, mediaTime, keyframe } of makeAv1Stream(160, 96, 20)) {
    mux.handle({ type: 'video', codec: 'AV1', data, mediaTime, keyframe, size: undefined });
  }
  mux.close();
  const film = await readFilm(file(files()[0] ?? ''));
  expect([film.width, film.height, film.times.length]).toEqual([160, 96, 20]);
  expect(film.times.at(-1)).toBeCloseTo(19 / 30, 2);
});

it('rotates by time and by size at a keyframe that it asks for; no file is ever overwritten', async () => {
  writeFileSync(file('room~ann_archive_20261130T180557Z.mp4'), 'of another program');
  const mux = session({ rotateSeconds: 1 });
  const pictures = result({ frames: 90, keyframes: [45, 80] });
  feed(mux, pictures.slice(0, 44), sound(80));
  expect(keyframesWanted).toBeGreaterThan(0);
  feed(mux, pictures.slice(44));
  mux.close();
  expect(files()).toEqual([
    'room~ann_archive_20261130T180557Z-2.mp4',
    'room~ann_archive_20261130T180557Z-3.mp4',
    'room~ann_archive_20261130T180557Z-4.mp4',
    'room~ann_archive_20261130T180557Z.mp4',
  ]);
  const counts = [];
  for (const name of files().slice(0, 3)) counts.push((await readFilm(file(name))).times.length);
  expect(counts).toEqual([45, 35, 10]);

  const [first = { data: [] }] = pictures;
  const bySize = session({ stem: 'size', rotateBytes: first.data.length + 1 });
  feed(bySize, pictures);
  bySize.close();
  expect(files().filter((name) => name.startsWith('size'))).toHaveLength(3);
});

it('another size, or sound that comes later, begins a new file', async () => {
  const mux = session();
  const small = result({ frames: 30 });
  const large = result({ frames: 60, width: 320, keyframes: [30], first: FIRST + 90_000 });
  feed(mux, small, large, sound(90, FIRST + 150_000));
  mux.close();
  const films = [];
  for (const name of files().sort((a, b) => a.length - b.length || a.localeCompare(b)))
    films.push(await readFilm(file(name)));
  expect(films.map(({ width, times, audio }) => [width, times.length, audio.length])).toEqual([
    [160, 30, 0],
    [320, 30, 0],
    [320, 30, 1],
  ]);
});

it('a folder that vanishes, or a file that another one has replaced, is an error', () => {
  const mux = session();
  const pictures = result({ frames: 90 });
  feed(mux, pictures.slice(0, 30));
  renameSync(folder, `${folder}-gone`);
  try {
    expect(() => feed(mux, pictures.slice(30))).toThrow('the folder or the file in it is gone');
    expect(() => feed(session(), pictures)).toThrow(`Nothing can be written to ${folder}`);
  } finally {
    mux.abandon();
    renameSync(`${folder}-gone`, folder);
  }
});

it('a full disk is an error that says so', () => {
  // Every write to /dev/full fails with ENOSPC.
  const full = (video: StreamParameters): ContainerWriter =>
    new ContainerWriter({ muxer: 'matroska', url: '/dev/full', options: {}, video, audio: undefined });
  const mux = new MuxSession(
    { fixedParameters: true, keyframeTicks: Infinity, open: full, full: () => false, check: () => undefined },
    { onRunning: () => undefined, onNeedKeyframe: () => undefined },
  );
  let thrown: unknown;
  try {
    feed(mux, result({ frames: 60 }));
  } catch (error) {
    thrown = error;
  }
  expect(failureOf(thrown, TARGET)).toMatchObject({
    code: 'output.disk',
    message: 'Nothing can be written to /recordings: the disk is full.',
  });
});

it('a container that does not take the codec says what to set', () => {
  expect(() => feed(session({ container: 'mp4' }), result({ codec: 'VP8', frames: 30 }))).toThrow(
    'A mp4 file does not take VP8',
  );
  expect(files()).toEqual([]);
});
