import { describe, expect, it } from 'vitest';
import { curvesOf, envelope, groupsOf, meanAt, valueAt, rateDifference, savingOf } from '../curves.ts';
import { plot } from '../plot.ts';
import { markdown } from '../report.ts';
import type { BitsRow } from '../rows.ts';
import { RATES_KBPS, sendTable } from '../send-table.ts';

const points = (...pairs: [number, number][]) => pairs.map(([kbps, psnrDb]) => ({ kbps, psnrDb, shownFps: kbps / 10 }));

function rowsOf(given: Partial<BitsRow>, ...pairs: [number, number][]): BitsRow[] {
  const same = { clip: 'a', content: 'camera', codec: 'VP8', shortSide: 180, framesPerSecond: 30, goal: 720 } as const;
  return pairs.map(([kbps, psnrDb]) => ({
    ...same,
    ...{ targetKbps: kbps, kbps, shownFps: 30, upscaler: 'resize', psnrDb, ssim: 0.9, perceptual: 0.1 },
    ...given,
  }));
}

describe('a curve', () => {
  it('is read linearly in the logarithm of the rate, stays at its end and has nothing before its beginning', () => {
    const curve = points([50, 30], [200, 34], [800, 36]);
    expect(valueAt(curve, 100)).toBeCloseTo(32, 6);
    expect(valueAt(curve, 400)).toBeCloseTo(35, 6);
    expect(valueAt(curve, 5000)).toBe(36);
    expect(valueAt(curve, 46), 'an encoder may overshoot by a tenth').toBe(30);
    expect(valueAt(curve, 40)).toBeUndefined();
    expect(valueAt([], 40)).toBeUndefined();
    expect(valueAt(curve, 100, 'shownFps')).toBeCloseTo(12.5, 6);
  });

  it('never falls with more bits', () => {
    expect(envelope(points([200, 33], [50, 30], [100, 34]))).toEqual(points([50, 30], [100, 34], [200, 34]));
  });
});

describe('means over clips', () => {
  const rows = [
    ...rowsOf({}, [50, 30], [200, 34]),
    ...rowsOf({ clip: 'b' }, [100, 26], [200, 30]),
    ...rowsOf({ shortSide: 720 }, [100, 28], [400, 36]),
  ];

  it('are of all clips or of none', () => {
    const groups = groupsOf(curvesOf(rows));
    expect(
      groups.map(({ way }) => way.shortSide),
      '720 lines were not measured on b',
    ).toEqual([180]);
    expect(meanAt(groups[0]?.curves ?? [], 200)).toBe(32);
    expect(meanAt(groups[0]?.curves ?? [], 60), 'b does not come down to it').toBeUndefined();
  });
});

describe('rateDifference', () => {
  it('is what a curve saves at the same quality', () => {
    const reference = points([100, 30], [200, 33], [400, 36]);
    const half = reference.map((point) => ({ ...point, kbps: point.kbps / 2 }));
    expect(rateDifference(half, reference)).toBeCloseTo(-0.5, 6);
    expect(rateDifference(reference, half)).toBeCloseTo(1, 6);
    expect(rateDifference(reference, reference)).toBeCloseTo(0, 9);
  });

  it('is unknown where two curves have no quality in common', () => {
    expect(rateDifference(points([50, 30], [60, 31]), points([50, 40], [60, 41]))).toBeUndefined();
    expect(rateDifference([], points([50, 40], [60, 41]))).toBeUndefined();
  });

  it('of a way is against the goal sent as it is by the same codec', () => {
    const direct: [number, number][] = [
      [100, 30],
      [200, 33],
      [400, 36],
    ];
    const groups = groupsOf(
      curvesOf([
        ...rowsOf({ shortSide: 720 }, ...direct),
        ...rowsOf({ shortSide: 720, codec: 'H264' }, [300, 30], [900, 36]),
        ...rowsOf({ upscaler: 'nano' }, [25, 30], [50, 33], [100, 36]),
      ]),
    );
    const savings = groups.map((group) => savingOf(group, groups));
    expect(savings.map((saving) => saving?.toFixed(3))).toEqual([undefined, undefined, '-0.750']);
  });
});

describe('what is written', () => {
  const rows = [
    ...rowsOf({}, [40, 28], [160, 31]),
    ...rowsOf({ upscaler: 'nano' }, [40, 29.5], [160, 32.5]),
    ...rowsOf({ shortSide: 720 }, [100, 29], [400, 37]),
  ];
  const groups = groupsOf(curvesOf(rows));

  it('says what a model adds at each rate, and where it adds nothing', () => {
    const text = markdown({ rows, groups, notRun: ['FlashVSR: no weights'] });
    expect(text).toMatch(/\| VP8 +\| - +\| 29\.5 \(180p \+ nano\); \+1\.5 +\|/);
    expect(text, 'at 500 kbit/s 720 lines are better').toMatch(/37\.0 \(720p\); -4\.5/);
    expect(text).toContain('- FlashVSR: no weights');
    expect(text).toMatch(/VP8 180p \+ nano +\| - +\| 29\.5/);
  });

  it('draws every way as a line', () => {
    const svg = plot('camera <720>', groups);
    expect(svg.match(/<polyline/g)).toHaveLength(3);
    expect(svg).toContain('camera &#60;720&#62;');
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    expect(() => plot('none', [])).toThrow('nothing to draw');
  });

  it('is the page’s table, a row a way, null where an encoder does not come down to a rate', async () => {
    const origin = { date: '2026-11-30', commit: 'abc', command: 'npm run bench:bits', machine: 'm', node: 'v20' };
    const text = sendTable(groups, origin);
    const { SEND_TABLE } = (await import(`data:text/javascript,${encodeURIComponent(text)}`)) as {
      SEND_TABLE: {
        ratesBps: number[];
        rows: { shortSide: number; upscaler: string; psnrDb: (number | null)[]; shownFps: (number | null)[] }[];
      };
    };
    expect(SEND_TABLE.rows.map(({ shortSide, upscaler }) => [shortSide, upscaler])).toEqual([
      [180, 'nano'],
      [180, 'resize'],
      [720, 'resize'],
    ]);
    const at = (row: number, kbps: number) => SEND_TABLE.rows[row]?.psnrDb[SEND_TABLE.ratesBps.indexOf(kbps * 1000)];
    expect([at(0, 40), at(1, 1500), at(2, 80), at(2, 200)]).toEqual([29.5, 31, null, 33]);
    expect(SEND_TABLE.rows[2]?.shownFps.slice(0, 2).concat(SEND_TABLE.rows[2].shownFps.at(-1) ?? 0)).toEqual([
      null,
      null,
      30,
    ]);
    expect(SEND_TABLE.rows.every(({ psnrDb }) => psnrDb.length === RATES_KBPS.length)).toBe(true);
    expect(() => sendTable([], origin)).toThrow('no way of sending');
  });
});
