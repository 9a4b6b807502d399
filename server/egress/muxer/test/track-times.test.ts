import { expect, it } from 'vitest';
import { AudioTimes, VideoTimes } from '../track-times.ts';

it('sound in front of the first picture is the container’s before: with B-frames the container begins earlier', () => {
  const video = new VideoTimes(90_000, 2);
  const audio = new AudioTimes(video.begin, undefined, 90_000);
  expect(video.begin).toBe(84_000);
  expect(audio.next(84_000, 960)).toBeUndefined();
  expect(audio.next(89_999, 960)).toBeUndefined();
  expect([audio.next(90_000, 960), audio.next(91_800, 960)]).toEqual([3200, 4160]);
});
