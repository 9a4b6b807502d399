import { expect, it } from 'vitest';
import { CarriedRate, type LinkReport } from './carried-rate.ts';

const SECOND = 1_000_000;
const GOOD: LinkReport = { sentBps: 2_900_000, fractionLost: 0, roundTripMs: 20, reportedAtUs: 0 };

/** One update a second, each with a fresh report unless it says otherwise. */
function run(carried: CarriedRate, reports: readonly Partial<LinkReport>[], from = 0): number[] {
  return reports.map((report, index) => {
    const nowUs = (from + index) * SECOND;
    return carried.update({ ...GOOD, reportedAtUs: nowUs - 300_000, ...report }, nowUs);
  });
}

it('believes a second when the next one is good as well', () => {
  expect(run(new CarriedRate(), [{}, {}, { sentBps: 1e6 }, {}])).toEqual([0, 2_900_000, 2_900_000, 2_900_000]);
});

it('forgets everything with loss, with a growing queue, and without fresh reports', () => {
  for (const bad of [{ fractionLost: 0.05 }, { roundTripMs: 90 }, { roundTripMs: undefined }, { reportedAtUs: -9e6 }]) {
    expect(run(new CarriedRate(), [{}, {}, bad, {}, {}])).toEqual([0, 2_900_000, 0, 0, 2_900_000]);
  }
});

it('takes jitter for none, and a longer path for good after a while', () => {
  const carried = new CarriedRate();
  expect(run(carried, [{}, { roundTripMs: 60 }, { roundTripMs: 25 }]).at(-1)).toBe(2_900_000);
  const longer = run(carried, Array(60).fill({ roundTripMs: 110 }), 3);
  expect(longer.slice(0, 35)).toEqual(Array(35).fill(0));
  expect(longer.at(-1)).toBe(2_900_000);
});

it('remembers a rate for ten seconds', () => {
  const carried = new CarriedRate();
  run(carried, [{}, {}]);
  const quiet = run(carried, Array(14).fill({ sentBps: 200_000 }), 2);
  expect(quiet[8]).toBe(2_900_000);
  expect(quiet.at(-1)).toBe(200_000);
});
