import { expect, it } from 'vitest';
import { judge } from '../verdict.ts';

const row = (attack: string, share: number, sent = 300) => ({ attack, share, sent });
const ALONE = row('nothing', 1);

it('passes when every row keeps 27 of 30 frames', () => {
  expect(judge(ALONE, [row('a', 1.01), row('b', 0.9)])).toEqual({ exitCode: 0, misses: [] });
});

it('names each attack that takes more, independent of the others and of the machine', () => {
  expect(judge(row('nothing', 0.92), [row('a', 0.89), row('b', 1), row('c', 0)])).toEqual({
    exitCode: 1,
    misses: ['a: 26.7 of 30 frames (300 sent)', 'c: 0.0 of 30 frames (300 sent)'],
  });
});

it('does not pass what it could not measure', () => {
  expect(judge(ALONE, [row('a', 1, 20)]).exitCode).toBe(1);
  expect(judge(row('nothing', 0.5), [row('a', 1)]).exitCode).toBe(2);
  expect(judge(row('nothing', 1, 10), [row('a', 1)]).exitCode).toBe(2);
});
