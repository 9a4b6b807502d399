import { describe, expect, it } from 'vitest';
import { BitrateController, type ViewerReport } from '../bitrate-controller.ts';

const limits = { minBps: 300_000, startBps: 2_500_000, maxBps: 6_000_000 };
const SECOND = 1_000_000;

/** Nothing is known of the link but the estimate. */
const UNKNOWN = { deliveredBps: undefined, fractionLost: 0, roundTripMs: undefined };

/** Runs `seconds` updates and returns the last answer. */
function run(
  controller: BitrateController,
  estimates: Record<string, number | undefined>,
  from: number,
  seconds: number,
  link: Partial<ViewerReport> = {},
): ReadonlySet<string> {
  let low: ReadonlySet<string> = new Set();
  for (let second = from; second < from + seconds; second += 1) {
    const reports = Object.entries(estimates).map(([id, estimateBps]): [string, ViewerReport] => [
      id,
      { ...UNKNOWN, reportedAtUs: second * SECOND, ...link, estimateBps },
    ]);
    low = controller.update(new Map(reports), second * SECOND).low;
  }
  return low;
}

it('starts at the start bit rate, believes low estimates after three seconds and follows within the limits', () => {
  const controller = new BitrateController(limits);
  expect(controller.fullBps).toBe(2_500_000);
  run(controller, { a: 300_000 }, 0, 3);
  expect(controller.fullBps).toBe(2_500_000);
  run(controller, { a: 2_000_000 }, 3, 1);
  expect(controller.fullBps).toBe(1_700_000);
  run(controller, { a: 50_000_000 }, 4, 1);
  expect(controller.fullBps).toBe(6_000_000);
});

it('believes what the link has carried before an estimate that started too low, and not when it has carried nothing', () => {
  const controller = new BitrateController(limits);
  const estimate = { a: 200_000 };
  const link = { deliveredBps: 2_400_000, roundTripMs: 2 };
  expect([...run(controller, estimate, 0, 20, link)]).toEqual([]);
  expect(controller.fullBps).toBe(2_400_000);
  // The link becomes thin: its queue grows, and the estimate counts.
  expect([...run(controller, estimate, 20, 4, { ...link, roundTripMs: 400 })]).toEqual(['a']);
  expect([...run(new BitrateController(limits), estimate, 0, 8, { ...link, fractionLost: 0.3 })]).toEqual(['a']);
});

it('does not grow on a link that is full of retransmissions, though it reports no loss and claims more', () => {
  const controller = new BitrateController(limits);
  run(controller, { a: undefined }, 0, 2);
  // Chromium behind 700 kbit/s whose queue was full from the start: loss 0 in its reports, an estimate of 990 kbit/s.
  const full = { deliveredBps: 430_000, resentShare: 0.35, roundTripMs: 290 };
  run(controller, { a: 990_000 }, 2, 10, full);
  expect(controller.fullBps).toBe(430_000);
  // Nothing has to be sent again any more: it is tried step by step.
  run(controller, { a: 990_000 }, 12, 5, { deliveredBps: 430_000, roundTripMs: 20 });
  expect(controller.fullBps).toBeGreaterThan(500_000);
  expect(controller.fullBps).toBeLessThan(700_000);
});

it('takes the delivered rate of an overloaded link for its rate, and grows by 8 % a second from there', () => {
  const controller = new BitrateController(limits);
  run(controller, { a: undefined }, 0, 2);
  expect(controller.fullBps).toBe(2_500_000);
  const thin = { deliveredBps: 600_000, fractionLost: 0.8 };
  run(controller, { a: undefined }, 2, 1, thin);
  expect(controller.fullBps).toBe(600_000);
  // The same report again is no news; neither reports of no loss in between nor an estimate that is too high bring it back at once.
  run(controller, { a: undefined }, 3, 1, { ...thin, reportedAtUs: 2 * SECOND });
  run(controller, { a: undefined }, 4, 1);
  expect(controller.fullBps).toBe(Math.round(600_000 * 1.08 ** 2));
  run(controller, { a: 3_000_000 }, 5, 1);
  expect(controller.fullBps).toBe(Math.round(600_000 * 1.08 ** 3));
  // A lower estimate counts, and ends it.
  run(controller, { a: 500_000 }, 6, 1);
  run(controller, { a: 3_000_000 }, 7, 1);
  expect(controller.fullBps).toBe(0.85 * 3_000_000);
});

it('takes the 20th percentile of many viewers', () => {
  const controller = new BitrateController(limits);
  const estimates = Object.fromEntries([3, 4, 4, 4, 4, 4, 4, 4, 4, 4].map((mbit, index) => [`v${index}`, mbit * 1e6]));
  run(controller, estimates, 0, 1);
  expect(controller.fullBps).toBe(3_400_000);
});

it('moves a viewer that stays far below the others to the low rendition, and the others keep their bit rate', () => {
  const controller = new BitrateController(limits);
  const estimates = { a: 4_000_000, b: 4_000_000, thin: 500_000 };
  expect([...run(controller, estimates, 0, 6)]).toEqual([]);
  expect([...run(controller, estimates, 6, 2)]).toEqual(['thin']);
  expect(controller.fullBps).toBe(3_400_000);
});

it('tries the full rendition again after 15 s, and after 30 s when that failed', () => {
  const controller = new BitrateController(limits);
  const thin = { a: 4_000_000, b: 4_000_000, thin: 350_000 };
  run(controller, thin, 0, 8);
  // Down at second 6, so back at second 21, and down again at 24.
  expect([...run(controller, thin, 8, 14)]).toEqual([]);
  expect([...run(controller, thin, 22, 4)]).toEqual(['thin']);
  expect([...run(controller, thin, 26, 20)]).toEqual(['thin']);
  expect([...run(controller, { ...thin, thin: 4_000_000 }, 46, 15)]).toEqual([]);
});

it('keeps a lone viewer on the low rendition when its link cannot take the smallest full bit rate', () => {
  const controller = new BitrateController(limits);
  expect([...run(controller, { only: 200_000 }, 0, 8)]).toEqual(['only']);
});

it('forgets viewers that left', () => {
  const controller = new BitrateController(limits);
  run(controller, { a: 1_000_000 }, 0, 1);
  run(controller, {}, 1, 1);
  expect(controller.fullBps).toBe(limits.startBps);
});

describe('viewers that lie', () => {
  const GOOD = { fractionLost: 0, roundTripMs: 20 };
  type Reports = Record<string, Partial<ViewerReport>>;

  /** Updates once a second; every viewer reports unless it says otherwise. @returns the rates and who was low, by second */
  function watch(controller: BitrateController, seconds: number, reports: (second: number) => Reports, from = 0) {
    return Array.from({ length: seconds }, (_, index) => {
      const second = from + index;
      const given = Object.entries(reports(second)).map(([id, report]): [string, ViewerReport] => [
        id,
        { ...UNKNOWN, estimateBps: undefined, reportedAtUs: second * SECOND, ...report },
      ]);
      const { low } = controller.update(new Map(given), second * SECOND);
      return { bps: controller.fullBps, low: [...low].sort() };
    });
  }
  const settledHonest = (honest: readonly string[]) => {
    const controller = new BitrateController({ ...limits, maxBps: 8_000_000 });
    watch(controller, 10, () => Object.fromEntries(honest.map((id) => [id, { ...GOOD, estimateBps: 8e6 }])));
    expect(controller.fullBps).toBe(6_800_000);
    return controller;
  };

  it.each([
    ['1 of 2', ['h'], ['x']],
    ['1 of 3', ['h', 'i'], ['x']],
    ['2 of 4', ['h', 'i'], ['x', 'y']],
    ['5 of 15', [...'abcdefghij'], [...'uvxyz']],
  ])('%s claiming 1, 360 or 1000 kbit/s never slow the others, on their tries neither', (_, honest, liars) => {
    for (const claimBps of [1000, 360_000, 1_000_000]) {
      // With reports that agree (loss), and without any: as a hostile viewer that only sends REMB.
      for (const lie of [{ fractionLost: 0.5, deliveredBps: claimBps }, { reportedAtUs: undefined }]) {
        const controller = settledHonest(honest);
        const seen = watch(
          controller,
          120,
          () => ({
            ...Object.fromEntries(honest.map((id) => [id, { ...GOOD, estimateBps: 8e6 }])),
            ...Object.fromEntries(liars.map((id) => [id, { estimateBps: claimBps, ...lie }])),
          }),
          10,
        );
        expect(Math.min(...seen.map(({ bps }) => bps)), `${claimBps}`).toBe(6_800_000);
        expect(seen.filter(({ low }) => low.length === liars.length).length).toBeGreaterThan(95);
        expect(seen.every(({ low }) => low.every((id) => liars.includes(id)))).toBe(true);
      }
    }
  });

  it.each([
    ['3 of 4, of one address', ['h'], ['x', 'y', 'z'], () => '192.0.2.9'],
    ['3 of 4, of the honest one', ['h'], ['x', 'y', 'z'], () => undefined],
    [
      '20 of 23, of three addresses',
      ['h', 'i', 'j'],
      [...'ABCDEFGHKLMNOPQRSTUV'],
      (liar: string) => `${liar.charCodeAt(0) % 3}`,
    ],
  ])('%s: liars of few addresses are few', (_, honest, liars, addressOf) => {
    const controller = settledHonest(honest);
    const low = { estimateBps: 360_000, fractionLost: 0.5, deliveredBps: 360_000 };
    const ofHonest = (id: string) => (liars.some((liar) => addressOf(liar) === undefined) ? 'same' : id);
    const seen = watch(
      controller,
      120,
      () => ({
        ...Object.fromEntries(honest.map((id) => [id, { ...GOOD, estimateBps: 8e6, voter: ofHonest(id) }])),
        ...Object.fromEntries(liars.map((id) => [id, { ...low, voter: addressOf(id) ?? 'same' }])),
      }),
      10,
    );
    expect(Math.min(...seen.map(({ bps }) => bps))).toBe(6_800_000);
    expect(seen.every(({ low }) => low.every((id) => liars.includes(id)))).toBe(true);
    expect(seen.filter(({ low }) => low.length === liars.length).length).toBeGreaterThan(95);
  });

  it('does not believe a low estimate that the viewer’s own reports contradict', () => {
    const controller = settledHonest(['h']);
    const seen = watch(
      controller,
      60,
      () => ({
        h: { ...GOOD, estimateBps: 8e6, deliveredBps: 6.8e6 },
        x: { ...GOOD, estimateBps: 2e6, deliveredBps: 6.8e6 },
      }),
      10,
    );
    expect(Math.min(...seen.slice(1).map(({ bps }) => bps))).toBe(6_800_000);
    expect(seen.at(-1)?.low).toEqual([]);
  });

  it('serves honest viewers without reports by what they claim, and a liar among them alone the low rendition', () => {
    const controller = new BitrateController({ ...limits, maxBps: 8_000_000 });
    const silent = { reportedAtUs: undefined };
    const honest = { h: { ...silent, estimateBps: 8e6 } };
    watch(controller, 20, () => honest);
    for (const claimBps of [360_000, 3_000_000, 5_000_000]) {
      const seen = watch(controller, 40, () => ({ ...honest, x: { ...silent, estimateBps: claimBps } }), 20);
      expect(Math.min(...seen.map(({ bps }) => bps)), `${claimBps}`).toBe(6_800_000);
      controller.forget('x');
    }
  });

  it('does not let one that claims 10 Gbit/s push viewers of decent links to the low rendition', () => {
    const controller = new BitrateController({ ...limits, maxBps: 8_000_000 });
    const seen = watch(controller, 60, () => ({
      x: { ...GOOD, estimateBps: 1e10 },
      h: { ...GOOD, estimateBps: 2e6, deliveredBps: 1.7e6 },
    }));
    expect(seen.at(-1)).toEqual({ bps: 1_700_000, low: [] });
  });

  it('does not follow one that swings between high and low claims', () => {
    const controller = settledHonest(['h']);
    const seen = watch(
      controller,
      60,
      (second) => ({
        h: { ...GOOD, estimateBps: 8e6 },
        x: { ...GOOD, estimateBps: second % 4 < 2 ? 8e6 : 100_000 },
      }),
      10,
    );
    expect(Math.min(...seen.map(({ bps }) => bps))).toBe(6_800_000);
  });
});
