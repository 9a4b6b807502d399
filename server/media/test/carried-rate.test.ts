import { expect, it } from 'vitest';
import { CarriedRate, type LinkReport } from '../carried-rate.ts';

const SECOND = 1_000_000;
const GOOD = { deliveredBps: 2_500_000, fractionLost: 0, roundTripMs: 20 };

/** One update a second, each with a fresh report unless it says otherwise. */
function run(carried: CarriedRate, reports: readonly Partial<LinkReport>[], from = 0): number[] {
  return reports.map((report, index) => {
    const nowUs = (from + index) * SECOND;
    return carried.update({ ...GOOD, reportedAtUs: nowUs - 300_000, ...report }, nowUs);
  });
}

it('is the best average of up to three reports', () => {
  const rates = [2e6, 2.6e6, 2.9e6, 1e6, 1e6].map((deliveredBps) => ({ deliveredBps }));
  expect(run(new CarriedRate(), rates)).toEqual([2e6, 2.3e6, 2.5e6, 2.5e6, 2.5e6]);
});

it('counts a report once, and none before two have come', () => {
  const old = { reportedAtUs: -SECOND };
  expect(run(new CarriedRate(), [{ deliveredBps: undefined }, {}])).toEqual([0, 2_500_000]);
  expect(run(new CarriedRate(), [old, { ...old, deliveredBps: 9e6 }])).toEqual([2_500_000, 2_500_000]);
});

it('forgets everything with loss, with a growing queue, and without fresh reports', () => {
  for (const bad of [{ fractionLost: 0.05 }, { roundTripMs: 90 }, { roundTripMs: undefined }, { reportedAtUs: -9e6 }]) {
    const after = { deliveredBps: 700_000 };
    expect(run(new CarriedRate(), [{}, bad, after])).toEqual([2_500_000, 0, 700_000]);
  }
});

it('does not take jitter for a queue, and accepts a longer path for good after a while', () => {
  const carried = new CarriedRate();
  expect(run(carried, [{}, { roundTripMs: 60 }]).at(-1)).toBe(2_500_000);
  const longer = run(carried, Array(60).fill({ roundTripMs: 110 }), 3);
  expect(longer.slice(0, 35)).toEqual(Array(35).fill(0));
  expect(longer.at(-1)).toBe(2_500_000);
});

it('remembers a rate for ten seconds', () => {
  const carried = new CarriedRate();
  run(carried, [{}]);
  const quiet = run(carried, Array(16).fill({ deliveredBps: 200_000 }), 1);
  expect(quiet[9]).toBe(2_500_000);
  expect(quiet.at(-1)).toBe(200_000);
});
