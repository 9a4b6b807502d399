import { expect, it } from 'vitest';
import { h264LevelFor } from '../h264-level.ts';

it('chooses the level by size, rate and shape', () => {
  expect(h264LevelFor(1280, 720, 30, 4_000_000)).toBe(31);
  expect(h264LevelFor(1408, 768, 30, 4_000_000)).toBe(32);
  expect(h264LevelFor(1280, 720, 60, 4_000_000)).toBe(32);
  expect(h264LevelFor(320, 180, 30, 250_000)).toBe(13);
  expect(h264LevelFor(1920, 1080, 30, 6_000_000)).toBe(40);
  expect(h264LevelFor(3840, 2160, 30, 20_000_000)).toBe(51);
});

it('takes any bit rate when none is given', () => {
  expect([h264LevelFor(1280, 720, 30), h264LevelFor(1280, 720, 60)]).toEqual([31, 32]);
  expect([h264LevelFor(768, 1408, 30), h264LevelFor(768, 1408, 60), h264LevelFor(1920, 1080, 30)]).toEqual([
    32, 42, 40,
  ]);
  expect(h264LevelFor(16_000, 16_000, 60), 'beyond the table').toBe(52);
});
