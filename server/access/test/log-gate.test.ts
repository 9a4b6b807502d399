import { expect, it } from 'vitest';
import { LogGate } from '../log-gate.ts';

it('lets one line an interval and subject through', () => {
  const gate = new LogGate(1000);
  expect([0, 1, 999, 1000, 1001, 2100].map((nowMs) => gate.open('a', nowMs))).toEqual([
    true,
    false,
    false,
    true,
    false,
    true,
  ]);
  expect(gate.open('b', 500)).toBe(true);
});
