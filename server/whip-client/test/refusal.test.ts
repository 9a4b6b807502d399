import { expect, it } from 'vitest';
import { retryAfterOf } from '../refusal.ts';

it.each([
  [undefined, 0],
  ['5', 5000],
  [' 120 ', 120_000],
  ['0', 0],
  ['-5', 0],
  ['soon', 0],
  ['Mon, 30 Nov 2026 12:00:30 GMT', 30_000],
  ['Mon, 30 Nov 2026 11:00:00 GMT', 0],
  ['Mon, 30 Nov 2027 12:00:00 GMT', 600_000],
  ['999999999', 600_000],
])('Retry-After: %s is %i ms', (header, expected) => {
  expect(retryAfterOf(header, Date.parse('2026-11-30T12:00:00Z'))).toBe(expected);
});
