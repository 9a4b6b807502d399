/** Rate-quality curves out of measured points: read at any rate, averaged over clips, compared with each other. Pure. */
import type { SourceCodec } from '../../server/media/types.ts';
import { mean } from '../quality/score.ts';
import type { UpscalerName } from './options.ts';
import type { BitsRow } from './rows.ts';

/** One way of sending, seen at one goal: everything but clip and rate. */
export interface Way {
  content: 'camera' | 'screen';
  goal: number;
  codec: SourceCodec;
  shortSide: number;
  framesPerSecond: number;
  upscaler: UpscalerName;
}

export interface Point {
  kbps: number;
  psnrDb: number;
  /** Pictures a second that appear. */
  shownFps: number;
}

export interface Curve extends Way {
  clip: string;
  /** By rising rate; more bits never look worse. */
  points: readonly Point[];
}

/** What an encoder may take more than it was given over some seconds, and a line carries nevertheless. */
const OVERSHOOT = 1.1;

export const wayKey = (way: Way): string =>
  [way.content, way.goal, way.codec, way.shortSide, way.framesPerSecond, way.upscaler].join(' ');

const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];

/** By rising rate; where a stream of more bits came out worse, which is chance, it counts as the one before. */
export function envelope(points: readonly Point[]): Point[] {
  let best = -Infinity;
  return [...points]
    .sort((a, b) => a.kbps - b.kbps)
    .map(({ kbps, psnrDb, shownFps }) => ({ kbps, psnrDb: (best = Math.max(best, psnrDb)), shownFps }));
}

export function curvesOf(rows: readonly BitsRow[]): Curve[] {
  const groups = new Map<string, BitsRow[]>();
  for (const row of rows) {
    const key = `${row.clip} ${wayKey(row)}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].flatMap((group) => {
    const [row] = group;
    if (row === undefined) return [];
    const { clip, content, goal, codec, shortSide, framesPerSecond, upscaler } = row;
    return [{ clip, content, goal, codec, shortSide, framesPerSecond, upscaler, points: envelope(group) }];
  });
}

type Value = 'psnrDb' | 'shownFps';

/** dB or frames/s at a rate, linear in its logarithm; the last value beyond the last point; undefined below what the encoder came down to. */
export function valueAt(points: readonly Point[], kbps: number, value: Value = 'psnrDb'): number | undefined {
  const [first] = points;
  if (first === undefined || kbps * OVERSHOOT < first.kbps) return undefined;
  const above = points.findIndex((point) => point.kbps >= kbps);
  if (above < 0) return points.at(-1)?.[value];
  const [low, high] = [points[above - 1], points[above] as Point];
  if (low === undefined || low.kbps === high.kbps) return high[value];
  const share = Math.log(kbps / low.kbps) / Math.log(high.kbps / low.kbps);
  return low[value] + share * (high[value] - low[value]);
}

/** Mean over clips; undefined where one of them has no value: a mean over others would be of easier clips. */
export function meanAt(curves: readonly Curve[], kbps: number, value: Value = 'psnrDb'): number | undefined {
  const values = curves.map(({ points }) => valueAt(points, kbps, value));
  return values.length > 0 && values.every((one) => one !== undefined) ? mean(values) : undefined;
}

export interface Group {
  way: Way;
  curves: readonly Curve[];
}

/** Curves of the same way, of all clips of its content that have any at its goal; ways that lack a clip are left out. */
export function groupsOf(curves: readonly Curve[]): Group[] {
  return unique(curves.map(wayKey)).flatMap((key) => {
    const mine = curves.filter((curve) => wayKey(curve) === key);
    const [way] = mine;
    if (way === undefined) return [];
    const peers = curves.filter((curve) => curve.content === way.content && curve.goal === way.goal);
    return mine.length === unique(peers.map(({ clip }) => clip)).length ? [{ way, curves: mine }] : [];
  });
}

/**
 * Bjontegaard's rate difference (VCEG-M33), with straight lines between the points instead of a cubic through them: mean over the
 * quality both reach of the logarithm of the rates' ratio.
 *
 * @returns -0.3 when `curve` takes 30 % fewer bits than `reference`; undefined when no quality is common to both
 */
export function rateDifference(curve: readonly Point[], reference: readonly Point[]): number | undefined {
  const rateAt = (points: readonly Point[], db: number): number => {
    const above = points.findIndex(({ psnrDb }) => psnrDb >= db);
    const [low, high] = [points[Math.max(0, above - 1)] as Point, points[above] as Point];
    if (high.psnrDb === low.psnrDb) return Math.log(high.kbps);
    const share = (db - low.psnrDb) / (high.psnrDb - low.psnrDb);
    return Math.log(low.kbps) + share * Math.log(high.kbps / low.kbps);
  };
  const from = Math.max(curve[0]?.psnrDb ?? Infinity, reference[0]?.psnrDb ?? Infinity);
  const to = Math.min(curve.at(-1)?.psnrDb ?? -Infinity, reference.at(-1)?.psnrDb ?? -Infinity);
  if (to - from < LEAST_OVERLAP_DB) return undefined;
  const steps = Array.from({ length: STEPS }, (_, i) => from + ((i + 0.5) / STEPS) * (to - from));
  return Math.exp(mean(steps.map((db) => rateAt(curve, db) - rateAt(reference, db)))) - 1;
}

const LEAST_OVERLAP_DB = 0.5;
const STEPS = 200;

/** Mean over clips of the rate difference to the goal's size, sent as it is by the same codec and at the same frame rate. */
export function savingOf({ way, curves }: Group, groups: readonly Group[]): number | undefined {
  const direct = groups.find(
    ({ way: other }) =>
      other.shortSide === way.goal &&
      other.upscaler === 'resize' &&
      wayKey({ ...way, shortSide: way.goal, upscaler: 'resize' }) === wayKey(other),
  );
  if (direct === undefined || direct.way === way) return undefined;
  const logs = curves.flatMap(({ clip, points }) => {
    const difference = rateDifference(points, direct.curves.find((other) => other.clip === clip)?.points ?? []);
    return difference === undefined ? [] : [Math.log(1 + difference)];
  });
  return logs.length === curves.length ? Math.exp(mean(logs)) - 1 : undefined;
}
