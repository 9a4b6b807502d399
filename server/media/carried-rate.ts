import type { MonotonicUs } from './types.ts';

/** What is known of a viewer's link from the receiver reports on its result track (RFC 3550 section 6.4). */
export interface LinkReport {
  /** What arrived between the last two reports, bit/s of payload; undefined before there were two. */
  readonly deliveredBps: number | undefined;
  /** 0..1. */
  readonly fractionLost: number;
  /**
   * Packets sent again between the last two reports, as a share of the new ones. What comes after all counts as received (RFC 3550
   * section A.3), so that a link full of retransmissions reports no loss.
   */
  readonly resentShare?: number | undefined;
  readonly roundTripMs: number | undefined;
  /** When the last report came. */
  readonly reportedAtUs: MonotonicUs | undefined;
}

/** Share of the packets that the link has lost, whatever was mended afterwards. */
export function lostShare({ fractionLost, resentShare = 0 }: LinkReport): number {
  return Math.max(fractionLost, resentShare);
}

const MAX_LOST = 0.02;
/** A round trip up to this much above the minimum is jitter; more means a growing queue. */
const MAX_QUEUE_MS = 50;
/** The minimum round trip may drift up this much per second, so that route changes are followed. */
const DRIFT_MS = 1;
const MAX_REPORT_AGE_US = 2_500_000;
/** Single reports vary with the encoder's output. */
const AVERAGED_REPORTS = 3;
const REMEMBERED_US = 10_000_000;

/**
 * Lower bound for a viewer's bandwidth: the highest rate recently delivered without loss or queueing.
 * Chromium's estimate starts at what came in during the first instants when its detector takes their jitter for congestion, and
 * grows by 8 % a second from there: 170 kbit/s after a second, 0.9 Mbit/s after 24 s, while the link carried 2.9 Mbit/s.
 * Loss and a growing queue end it at once: then the estimate alone counts. It holds one entry a second for ten seconds.
 */
export class CarriedRate {
  readonly #recent: number[] = [];
  readonly #proven: { readonly bps: number; readonly atUs: MonotonicUs }[] = [];
  #leastRoundTripMs = Number.POSITIVE_INFINITY;
  #seenAtUs: MonotonicUs | undefined;

  /** Once a second. @returns bit/s, 0 when nothing is proven */
  update(report: LinkReport, nowUs: MonotonicUs): number {
    const isNew = report.reportedAtUs !== this.#seenAtUs;
    this.#seenAtUs = report.reportedAtUs;
    if (!this.#isGood(report, nowUs)) {
      this.#recent.length = this.#proven.length = 0;
      return 0;
    }
    if (isNew && report.deliveredBps !== undefined) {
      this.#recent.push(report.deliveredBps);
      if (this.#recent.length > AVERAGED_REPORTS) this.#recent.shift();
      const bps = this.#recent.reduce((sum, rate) => sum + rate, 0) / this.#recent.length;
      this.#proven.push({ bps, atUs: nowUs });
    }
    while ((this.#proven[0]?.atUs ?? nowUs) < nowUs - REMEMBERED_US) this.#proven.shift();
    return Math.max(0, ...this.#proven.map(({ bps }) => bps));
  }

  #isGood(report: LinkReport, nowUs: MonotonicUs): boolean {
    const { roundTripMs, reportedAtUs } = report;
    if (roundTripMs === undefined || reportedAtUs === undefined) return false;
    this.#leastRoundTripMs = Math.min(roundTripMs, this.#leastRoundTripMs + DRIFT_MS);
    const fresh = nowUs - reportedAtUs < MAX_REPORT_AGE_US;
    return fresh && lostShare(report) <= MAX_LOST && roundTripMs - this.#leastRoundTripMs < MAX_QUEUE_MS;
  }
}
