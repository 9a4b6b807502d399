import { expect, it } from 'vitest';
import { quantile } from '../quantile.ts';

it('is the nearest rank, in any order, and 0 of nothing', () => {
  expect([0, 0.2, 0.5, 0.95, 1].map((q) => quantile([5, 1, 4, 2, 3], q))).toEqual([1, 1, 3, 5, 5]);
  expect(quantile([7], 0.5)).toBe(7);
  expect(quantile([], 0.5)).toBe(0);
});
