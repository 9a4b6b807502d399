import { expect, it } from 'vitest';
import { DelayFinder } from '../delay-finder.ts';

const CHUNK_US = 267_000;
const MOST_MS = 2000;

/** A burst of eight pictures, the first of which needs the most, for every value; returns the delays stepped to. */
function bursts(finder: DelayFinder, needsMs: readonly number[], fromUs = 0): number[] {
  const steps: number[] = [];
  needsMs.forEach((needMs, chunk) => {
    for (let place = 0; place < 8; place += 1) {
      const atUs = fromUs + chunk * CHUNK_US + place * 4000;
      if (finder.add(needMs - place * 33, atUs, MOST_MS)) steps.push(finder.delayMs);
    }
  });
  return steps;
}
const times = (count: number, needMs: number): number[] => Array.from({ length: count }, () => needMs);

it('rises with the second late burst, by the missing time and no more', () => {
  const finder = new DelayFinder(500);
  expect(bursts(finder, [600])).toEqual([]);
  expect(bursts(finder, [600], CHUNK_US)).toEqual([608]);
});

it('falls within the seconds it remembers, to the delay that is needed', () => {
  const finder = new DelayFinder(500);
  bursts(finder, times(20, 800));
  expect(finder.delayMs).toBe(808);
  const steps = bursts(finder, times(16, 490), 20 * CHUNK_US);
  expect(steps).toEqual([498]);
});

it('ignores a single spike and changes smaller than a step', () => {
  const finder = new DelayFinder(500);
  expect(bursts(finder, [...times(12, 490), 700, ...times(12, 484), 493, ...times(12, 482)])).toEqual([]);
});

it('remembers a shorter time at first, so that a slow start is soon over', () => {
  const finder = new DelayFinder(500);
  bursts(finder, [900, 900]);
  const steps = bursts(finder, times(6, 490), 2 * CHUNK_US);
  expect(steps.at(-1)).toBe(498);
});

it('waits longer before it falls again when the load comes in waves', () => {
  const finder = new DelayFinder(500);
  const wave = [...times(3, 700), ...times(15, 490)];
  const stepped = Array.from({ length: 8 }, (_, index) => bursts(finder, wave, index * wave.length * CHUNK_US).length);
  expect(stepped[0]).toBeGreaterThan(1);
  expect(stepped.slice(-3)).toEqual([0, 0, 0]);
  expect(finder.delayMs).toBe(708);
});

it('stops where waiting does not help any more', () => {
  const finder = new DelayFinder(500);
  bursts(
    finder,
    Array.from({ length: 40 }, (_, chunk) => 500 + 100 * chunk),
  );
  expect(finder.delayMs).toBe(MOST_MS);
});

it('keeps its delay after forget() until it has new measurements', () => {
  const finder = new DelayFinder(500);
  bursts(finder, times(20, 800));
  finder.forget();
  expect(bursts(finder, times(3, 490), 20 * CHUNK_US)).toEqual([]);
  expect(bursts(finder, times(4, 490), 23 * CHUNK_US)).toEqual([498]);
});
