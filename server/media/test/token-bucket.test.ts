import { expect, it } from 'vitest';
import { TokenBucket } from '../token-bucket.ts';

const SECOND = 1_000_000;

it('gives its burst at once and then its rate', () => {
  const bucket = new TokenBucket({ burst: 3, perSecond: 2 });
  expect([1, 2, 3, 4].map(() => bucket.take(0))).toEqual([true, true, true, false]);
  expect(bucket.availableAtUs(0)).toBe(SECOND / 2);
  expect(bucket.take(SECOND / 2)).toBe(true);
  expect(bucket.take(SECOND / 2)).toBe(false);
});

it('takes all of a number or none, and never holds more than its burst', () => {
  const bucket = new TokenBucket({ burst: 10, perSecond: 1 });
  expect(bucket.take(0, 11)).toBe(false);
  expect(bucket.take(0, 8)).toBe(true);
  expect(bucket.take(0, 3)).toBe(false);
  expect(bucket.isFull(SECOND)).toBe(false);
  expect(bucket.isFull(100 * SECOND)).toBe(true);
  expect(bucket.take(100 * SECOND, 10)).toBe(true);
  expect(bucket.take(100 * SECOND, 1)).toBe(false);
});

it('gives nothing for a clock that steps back', () => {
  const bucket = new TokenBucket({ burst: 1, perSecond: 1 });
  bucket.take(10 * SECOND);
  expect(bucket.take(5 * SECOND)).toBe(false);
});
