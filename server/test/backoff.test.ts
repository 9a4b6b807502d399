import { expect, it } from 'vitest';
import { Backoff } from '../backoff.ts';

it('doubles up to its bound, spreads by a fifth, and begins again after what worked', () => {
  const backoff = new Backoff({ firstMs: 1000, maxMs: 4000, healthyMs: 30_000 });
  expect([0, 0, 0, 0].map(() => backoff.next(0, 0, 0.5))).toEqual([1000, 2000, 4000, 4000]);
  expect(backoff.next(0, 0, 0)).toBe(3200);
  expect(backoff.next(0, 0, 1)).toBe(4800);
  expect(backoff.next(0, 20_000, 0.5)).toBe(20_000);
  expect(backoff.next(31_000, 0, 0.5)).toBe(1000);
});
