import type { MonotonicUs } from './types.ts';

/** The process-wide monotonic clock. `performance.now()` starts at zero in every worker thread; this one does not. */
export function monotonicUs(): MonotonicUs {
  return Number(process.hrtime.bigint() / 1000n);
}
