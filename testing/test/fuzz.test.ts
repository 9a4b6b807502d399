import { describe, expect, it } from 'vitest';
import { FuzzFailure, fuzz, type FuzzTarget } from '../fuzz/fuzz.ts';
import { TARGETS } from '../fuzz/targets.ts';

/** A moment of each; `npm run fuzz -- TARGET --iterations 1000000` is the long run. */
const ITERATIONS = 400;

describe('input of strangers', () => {
  it.each(TARGETS.map((target) => [target.name, target] as const))('%s: nothing found', (_, target) => {
    fuzz(target, { iterations: ITERATIONS, seed: 1 });
  });
});

it('a failure names the seed and the iteration that repeat it', () => {
  let calls = 0;
  const target: FuzzTarget = {
    name: 'third',
    about: 'fails at the third input',
    open: () => () => {
      calls += 1;
      if (calls === 3) throw new Error('boom');
    },
  };
  expect(() => fuzz(target, { iterations: 10, seed: 7 })).toThrow(FuzzFailure);
  calls = 0;
  expect(() => fuzz(target, { iterations: 10, seed: 7 })).toThrow('third: boom (--seed 7, iteration 2)');
});
