import { expect, it } from 'vitest';
import { makeNumberedVideo, readNumber } from '../numbered-video.ts';

const clip = new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;

it('reads every frame’s number back from its pixels, and refuses a picture without one', () => {
  const { width, height, frames } = makeNumberedVideo(clip, 320, 180, 400);
  const lumaOf = (frame: Uint8Array) => (x: number, y: number) =>
    frame[Math.floor(y * height) * width + Math.floor(x * width)] ?? 0;
  expect(frames.map((frame) => readNumber(lumaOf(frame)))).toEqual(frames.map((_, index) => index));
  expect(readNumber(() => 200)).toBe(-1);
});
