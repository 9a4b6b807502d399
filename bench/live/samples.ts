import { quantile } from '../../server/media/quantile.ts';

/** Latencies of one path in one run, ms. */
export interface PathResult {
  readonly frames: number;
  readonly framesPerSecond: number;
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

export function summarizePath(latencies: readonly number[], seconds: number): PathResult {
  return {
    frames: latencies.length,
    framesPerSecond: round(latencies.length / seconds),
    p50: round(quantile(latencies, 0.5)),
    p95: round(quantile(latencies, 0.95)),
    max: round(Math.max(...latencies)),
  };
}

export function round(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

export function pathRow(name: string, result: PathResult): string[] {
  const { frames, framesPerSecond, p50, p95, max } = result;
  return [name, String(frames), framesPerSecond.toFixed(1), p50.toFixed(1), p95.toFixed(1), max.toFixed(1)];
}
