import { afterEach, expect, it } from 'vitest';
import { makePicture, makeStream, movingBar } from '../../../../testing/pictures.ts';
import { CameraSession } from '../camera-session.ts';
import { Canvas } from '../canvas.ts';
import type { PictureSink } from '../device-writer.ts';
import { failureOf } from '../failure.ts';
import type { CameraTarget, VideoItem } from '../messages.ts';

/** Frames to a camera of one size, without a device. */
const TARGET: CameraTarget = { kind: 'camera', device: '/dev/video199', width: 320, height: 240 };
const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const end of cleanup.splice(0)) end();
});

function open(target: CameraTarget, openSink?: () => PictureSink) {
  const seen = { running: 0, keyframes: 0, closed: 0, pictures: [] as Buffer[], times: [] as number[] };
  const sink: PictureSink = {
    write: (picture, mediaTime) => {
      seen.pictures.push(Buffer.from(picture));
      seen.times.push(mediaTime);
    },
    close: () => (seen.closed += 1),
  };
  const listener = { onRunning: () => (seen.running += 1), onNeedKeyframe: () => (seen.keyframes += 1) };
  const session = new CameraSession(target, listener, openSink ?? (() => sink));
  cleanup.push(() => session.abandon());
  return { session, seen };
}

function items(width: number, height: number, frames: number, first = 0): VideoItem[] {
  const stream = makeStream({ codec: 'H264', width, height, frames, firstMediaTime: first, bitrateBps: 3_000_000 });
  return stream.map(({ codec, data, keyframe, mediaTime }) => ({
    ...{ type: 'video', codec, data, keyframe, mediaTime, size: { width, height } },
  }));
}

/** Mean difference of luma in one row of the camera's picture and of what was painted, in its middle. */
function rowDifference(picture: Buffer, row: number, paint: (x: number) => number): number {
  let sum = 0;
  for (let x = 0; x < TARGET.width; x += 1) sum += Math.abs((picture[row * TARGET.width + x] ?? 0) - paint(x));
  return sum / TARGET.width;
}

it('every picture arrives in order, fitted into the middle with black above and below', () => {
  const { session, seen } = open(TARGET);
  for (const item of items(320, 180, 10)) session.handle(item);
  session.handle({ type: 'audio', data: new Uint8Array(3), mediaTime: 0 });
  expect(seen).toMatchObject({ running: 1, keyframes: 0 });
  expect(seen.times).toEqual(Array.from({ length: 10 }, (_, number) => number * 3000));
  seen.pictures.forEach((picture, number) => {
    expect(picture.length).toBe((320 * 240 * 3) / 2);
    const paint = movingBar(number, 320);
    expect(rowDifference(picture, 30 + 90, (x) => paint(x, 90))).toBeLessThan(6);
    for (const row of [0, 29, 210, 239]) expect(rowDifference(picture, row, () => 16)).toBe(0);
  });
  session.close();
  session.close();
  expect(seen.closed).toBe(1);
});

it('the size never changes: a larger and a portrait picture are fitted into it', () => {
  const { session, seen } = open(TARGET);
  for (const [index, [width, height]] of (
    [
      [640, 480],
      [180, 320],
      [320, 180],
    ] as const
  ).entries()) {
    for (const item of items(width, height, 2, index * 90_000)) session.handle(item);
  }
  expect(new Set(seen.pictures.map(({ length }) => length))).toEqual(new Set([(320 * 240 * 3) / 2]));
  const [large, , portrait, , last] = seen.pictures;
  const paint = movingBar(0, 640);
  expect(rowDifference(large ?? Buffer.alloc(0), 120, (x) => paint(2 * x, 240))).toBeLessThan(8);
  // 136 columns in the middle; nothing of the picture before is left beside it, nor of this one above the next.
  const column = (picture: Buffer | undefined, x: number): number => picture?.[120 * 320 + x] ?? 0;
  expect([column(portrait, 90), column(portrait, 229)]).toEqual([16, 16]);
  expect([column(portrait, 94), column(portrait, 225)].every((luma) => luma > 30)).toBe(true);
  expect(rowDifference(last ?? Buffer.alloc(0), 10, () => 16)).toBe(0);
});

it('what comes before a keyframe, or is damaged, asks for one, once a second', () => {
  const { session, seen } = open(TARGET);
  const [key, ...rest] = items(320, 180, 8);
  for (const item of rest) session.handle(item);
  expect(seen).toMatchObject({ keyframes: 1, running: 0 });
  session.handle({ ...(key as VideoItem), mediaTime: 90_000 });
  expect(seen.pictures).toHaveLength(1);
});

it('a device that is not there is an error that says what to load', () => {
  const session = new CameraSession(TARGET, { onRunning: () => undefined, onNeedKeyframe: () => undefined });
  cleanup.push(() => session.abandon());
  const [key] = items(320, 180, 1);
  let error: unknown;
  try {
    session.handle(key as VideoItem);
  } catch (thrown) {
    error = failureOf(thrown, TARGET);
  }
  expect(error).toMatchObject({
    code: 'output.target',
    message: '/dev/video199 cannot be opened as a camera to write to: ENOENT.',
    remedy: expect.stringContaining('v4l2loopback') as string,
  });
});

it('a picture of the camera’s own size is passed on sample by sample', () => {
  const canvas = new Canvas(64, 48);
  const picture = makePicture(64, 48, 0, (x, y) => 20 + ((x * 3 + y * 5) % 200), [90, 170]);
  const drawn = canvas.draw(picture);
  expect(Buffer.compare(drawn.subarray(0, 64 * 48), Buffer.from(picture.y))).toBe(0);
  expect(drawn.subarray(64 * 48, 64 * 48 + 32 * 24).every((value) => value === 90)).toBe(true);
  expect(drawn.subarray(64 * 48 + 32 * 24).every((value) => value === 170)).toBe(true);
});
