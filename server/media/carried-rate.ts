import type { MonotonicUs } from './types.ts';

/** What a second on a viewer's link looked like, from its RTCP reports (RFC 3550 section 6.4). */
export interface LinkReport {
  /** Everything sent to this viewer in the last second, bit/s. */
  readonly sentBps: number;
  /** 0..1. */
  readonly fractionLost: number;
  readonly roundTripMs: number | undefined;
  /** When the last receiver report came. */
  readonly reportedAtUs: MonotonicUs | undefined;
}

const MAX_LOST = 0.02;
/** A queue that grows shows in the round trip: so much above the least seen is none, but jitter. */
const MAX_QUEUE_MS = 50;
/** The least round trip may rise by so much a second: paths change. */
const DRIFT_MS = 1;
const MAX_REPORT_AGE_US = 2_500_000;
const REMEMBERED_US = 10_000_000;

/**
 * The rate that a link has been seen to carry without loss and without a growing queue: a bound from below for what its
 * receiver estimates. Chromium's estimate starts at what came in during the first instants when its detector takes their
 * jitter for congestion, and grows by 8 % a second from there: 170 kbit/s after a second, 0.9 Mbit/s after 24 s, while the
 * link carried 2.9 Mbit/s.
 */
export class CarriedRate {
  readonly #proven: { readonly bps: number; readonly atUs: MonotonicUs }[] = [];
  #leastRoundTripMs = Number.POSITIVE_INFINITY;
  /** Sent in the second before, if that was a good one: reports of this second tell what became of it. */
  #beforeBps: number | undefined;

  /** Once a second. @returns bit/s, 0 when nothing is proven */
  update(report: LinkReport, nowUs: MonotonicUs): number {
    if (!this.#isGood(report, nowUs)) {
      this.#proven.length = 0;
      this.#beforeBps = undefined;
      return 0;
    }
    if (this.#beforeBps !== undefined) this.#proven.push({ bps: this.#beforeBps, atUs: nowUs });
    this.#beforeBps = report.sentBps;
    while ((this.#proven[0]?.atUs ?? nowUs) < nowUs - REMEMBERED_US) this.#proven.shift();
    return Math.max(0, ...this.#proven.map(({ bps }) => bps));
  }

  #isGood({ fractionLost, roundTripMs, reportedAtUs }: LinkReport, nowUs: MonotonicUs): boolean {
    if (roundTripMs === undefined || reportedAtUs === undefined) return false;
    this.#leastRoundTripMs = Math.min(roundTripMs, this.#leastRoundTripMs + DRIFT_MS);
    const fresh = nowUs - reportedAtUs < MAX_REPORT_AGE_US;
    return fresh && fractionLost <= MAX_LOST && roundTripMs - this.#leastRoundTripMs < MAX_QUEUE_MS;
  }
}
