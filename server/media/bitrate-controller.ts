import { CarriedRate, type LinkReport } from './carried-rate.ts';
import type { MonotonicUs } from './types.ts';

export interface ViewerReport extends LinkReport {
  /** REMB (draft-alvestrand-rmcat-remb), bit/s; undefined before the first, which may take 5 s. */
  readonly estimateBps: number | undefined;
}

export interface BitrateLimits {
  readonly minBps: number;
  /** Until the first viewer has reported an estimate. */
  readonly startBps: number;
  readonly maxBps: number;
}

/** One encode serves all: the bit rate that four viewers of five can take. */
const SHARED_PERCENTILE = 0.2;
/** A receiver's first estimates tell its start value, not its link: they are not believed when they are low. */
const SETTLING_US = 3_000_000;
/** With so much loss, what arrives is what the link can take; more than that is tried again step by step. */
const OVERLOADED_LOST = 0.1;
const GROWTH_PER_SECOND = 1.08;
/** Room for retransmissions and audio below a viewer's estimate. */
const HEADROOM = 0.85;
/** A viewer below this share of the median would drag all others down. */
const FAR_BELOW = 0.4;
const DOWN_AFTER_US = 3_000_000;
const FIRST_RETRY_US = 15_000_000;
const MAX_RETRY_US = 240_000_000;
/** A try of the full rendition that lasted this long has succeeded. */
const SETTLED_US = 30_000_000;

interface ViewerRecord {
  rendition: 'full' | 'low';
  readonly firstSeenUs: MonotonicUs;
  readonly carried: CarriedRate;
  /** What arrived of too much, until growth from there reaches what is believed otherwise. */
  overloaded: { readonly bps: number; readonly atUs: MonotonicUs } | undefined;
  sinceUs: MonotonicUs;
  /** It is on the full rendition as a try after having been on the low one. */
  trying: boolean;
  /** Since when its estimate is too small for the full rendition. */
  tooSmallSinceUs: MonotonicUs | undefined;
  retryUs: number;
}

/**
 * The bit rate of one encode shared by all viewers, and who belongs on the low rendition instead: from their REMB estimates, or what
 * their links have been seen to carry if that is more, or what has arrived of too much if that is less.
 *
 * A viewer on the low rendition cannot show that its link has recovered: a receiver's estimate does not grow past about 1.5
 * times what arrives. So it is tried on the full rendition again after 15 s, and after twice as long whenever that failed.
 */
export class BitrateController {
  readonly #limits: BitrateLimits;
  readonly #viewers = new Map<string, ViewerRecord>();
  #fullBps: number;

  constructor(limits: BitrateLimits) {
    this.#limits = limits;
    this.#fullBps = limits.startBps;
  }

  /** Bit rate for the full rendition, bit/s. */
  get fullBps(): number {
    return this.#fullBps;
  }

  forget(viewer: string): void {
    this.#viewers.delete(viewer);
  }

  /**
   * Once a second.
   * @param reported of every connected viewer
   * @returns the viewers that belong on the low rendition
   */
  update(reported: ReadonlyMap<string, ViewerReport>, nowUs: MonotonicUs): { readonly low: ReadonlySet<string> } {
    for (const id of this.#viewers.keys()) if (!reported.has(id)) this.#viewers.delete(id);
    const estimates = new Map<string, number>();
    for (const [id, report] of reported) {
      const estimateBps = this.#believable(id, report, nowUs);
      if (estimateBps !== undefined) estimates.set(id, estimateBps);
    }
    const median = percentile([...estimates.values()], 0.5);
    const floor = Math.max(this.#limits.minBps / HEADROOM, median === undefined ? 0 : median * FAR_BELOW);
    for (const [id, estimateBps] of estimates) this.#judge(id, estimateBps < floor, nowUs);

    const low = new Set<string>();
    const full: number[] = [];
    for (const [id, estimateBps] of estimates) {
      if (this.#viewers.get(id)?.rendition === 'low') low.add(id);
      else full.push(estimateBps);
    }
    const shared = percentile(full, SHARED_PERCENTILE);
    const { minBps, startBps, maxBps } = this.#limits;
    if (shared !== undefined) this.#fullBps = Math.round(Math.min(maxBps, Math.max(minBps, shared * HEADROOM)));
    else if (estimates.size === 0) this.#fullBps = startBps;
    return { low };
  }

  #viewer(id: string, nowUs: MonotonicUs): ViewerRecord {
    let viewer = this.#viewers.get(id);
    if (viewer === undefined) {
      const since = { firstSeenUs: nowUs, sinceUs: nowUs, tooSmallSinceUs: undefined };
      const rates = { carried: new CarriedRate(), overloaded: undefined };
      viewer = { rendition: 'full', trying: false, retryUs: FIRST_RETRY_US, ...since, ...rates };
      this.#viewers.set(id, viewer);
    }
    return viewer;
  }

  /** @returns bit/s; undefined: nothing is known of this viewer's link yet */
  #believable(id: string, report: ViewerReport, nowUs: MonotonicUs): number | undefined {
    const viewer = this.#viewer(id, nowUs);
    const { estimateBps, deliveredBps, fractionLost, reportedAtUs = 0 } = report;
    const knownBps = Math.max(estimateBps ?? 0, viewer.carried.update(report, nowUs) / HEADROOM);
    const settled = estimateBps !== undefined && nowUs - viewer.firstSeenUs >= SETTLING_US;
    const believedBps = settled ? knownBps : Math.max(knownBps, this.#limits.startBps / HEADROOM);
    const isNew = reportedAtUs > (viewer.overloaded?.atUs ?? 0);
    if (isNew && fractionLost > OVERLOADED_LOST && deliveredBps !== undefined) {
      viewer.overloaded = { bps: deliveredBps / HEADROOM, atUs: nowUs };
    }
    if (viewer.overloaded === undefined) return estimateBps === undefined ? undefined : believedBps;
    const { bps, atUs } = viewer.overloaded;
    const takenBps = bps * GROWTH_PER_SECOND ** ((nowUs - atUs) / 1e6);
    if (takenBps >= believedBps) viewer.overloaded = undefined;
    return Math.min(takenBps, believedBps);
  }

  #judge(id: string, tooSmall: boolean, nowUs: MonotonicUs): void {
    const viewer = this.#viewer(id, nowUs);
    if (viewer.rendition === 'low') {
      if (nowUs - viewer.sinceUs < viewer.retryUs) return;
      Object.assign(viewer, { rendition: 'full', sinceUs: nowUs, trying: true, tooSmallSinceUs: undefined });
      return;
    }
    if (!tooSmall) {
      viewer.tooSmallSinceUs = undefined;
      if (nowUs - viewer.sinceUs > SETTLED_US) viewer.retryUs = FIRST_RETRY_US;
      return;
    }
    viewer.tooSmallSinceUs ??= nowUs;
    if (nowUs - viewer.tooSmallSinceUs < DOWN_AFTER_US) return;
    const failedAgain = viewer.trying && nowUs - viewer.sinceUs < SETTLED_US;
    const retryUs = failedAgain ? Math.min(MAX_RETRY_US, viewer.retryUs * 2) : FIRST_RETRY_US;
    Object.assign(viewer, { rendition: 'low', sinceUs: nowUs, trying: false, tooSmallSinceUs: undefined, retryUs });
  }
}

/** Nearest rank from below, so that of two viewers the slower one counts. */
function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
