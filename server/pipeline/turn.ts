import type { MonotonicUs } from '../media/types.ts';

export interface Turn<T> {
  readonly untilUs: MonotonicUs;
  readonly nowUs: () => MonotonicUs;
  readonly mayLeaveOut: (item: T) => boolean;
  readonly work: (item: T) => void;
}

/**
 * Works on all items in order; from `untilUs` on, only on those that may not be left out. The first one is always worked on.
 * @returns how many were left out
 */
export function workUntil<T>(items: readonly T[], { untilUs, nowUs, mayLeaveOut, work }: Turn<T>): number {
  let leftOut = 0;
  let over = false;
  for (const item of items) {
    if (over && mayLeaveOut(item)) {
      leftOut += 1;
      continue;
    }
    work(item);
    over ||= nowUs() >= untilUs;
  }
  return leftOut;
}
