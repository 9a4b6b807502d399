import { CarriedRate, lostShare, type LinkReport } from './carried-rate.ts';
import type { MonotonicUs } from './types.ts';

export interface ViewerReport extends LinkReport {
  /** REMB (draft-alvestrand-rmcat-remb), bit/s; undefined before the first, which may take 5 s. */
  readonly estimateBps: number | undefined;
  /** Viewers with the same one (those of one address) have one vote about what is fast; undefined: its own. */
  readonly voter?: string | undefined;
}

export interface BitrateLimits {
  readonly minBps: number;
  /** Until the first viewer has reported an estimate. */
  readonly startBps: number;
  readonly maxBps: number;
}

/** One encode serves all: the bit rate that four viewers of five can take. */
const SHARED_PERCENTILE = 0.2;
/** A receiver's first estimates reflect its initial value; low ones are ignored while it settles. */
const SETTLING_US = 3_000_000;
/** With so much loss, the delivered rate is what the link can take; more is tried again step by step. */
const OVERLOADED_LOST = 0.1;
const GROWTH_PER_SECOND = 1.08;
/** Room for retransmissions and audio below a viewer's estimate. */
const HEADROOM = 0.85;
/**
 * A viewer below this share of what the upper viewers can take is served the low rendition instead of slowing the others
 * down. The upper quartile is the measure, not the median: of two viewers one may lie, of four two.
 */
const FAR_BELOW = 0.4;
const UPPER_QUANTILE = 0.75;
/** With this share of the start bit rate a viewer always deserves the full rendition, however fast the others are. */
const GOOD_ENOUGH = 0.6;
const DOWN_AFTER_US = 3_000_000;
const FIRST_RETRY_US = 15_000_000;
const MAX_RETRY_US = 240_000_000;
/** A try of the full rendition that lasted this long has succeeded. */
const SETTLED_US = 30_000_000;
/** RFC 3550 section 6.2: receivers report every 5 s at least. One that does not has nothing to support its estimate. */
const REPORTS_MISSING_US = 8_000_000;
/** Without reports, a viewer whose estimate is below this share of the upper ones is served the low rendition. */
const UNSUPPORTED_BELOW = 0.75;

interface ViewerRecord {
  rendition: 'full' | 'low';
  readonly firstSeenUs: MonotonicUs;
  readonly carried: CarriedRate;
  /** The delivered rate while overloaded; grows from there until it exceeds the normal estimate. */
  overloaded: { readonly bps: number; readonly atUs: MonotonicUs } | undefined;
  sinceUs: MonotonicUs;
  /** It is on the full rendition as a try after having been on the low one. */
  trying: boolean;
  /** Since when it is too slow for the full rendition. */
  slowSinceUs: MonotonicUs | undefined;
  retryUs: number;
}

/** What is believed of one viewer's link. */
interface Link {
  readonly bps: number;
  /** It sends receiver reports, so that what it claims can be compared with what arrived. */
  readonly supported: boolean;
  /** Its first seconds are over; until then it does not count where others do. */
  readonly settled: boolean;
  readonly voter: string;
}

/**
 * The bit rate of one encode shared by all viewers, and who belongs on the low rendition instead: from their REMB estimates,
 * or the rate their links have carried if that is higher, capped by the delivered rate after heavy loss.
 *
 * A viewer on the low rendition cannot show that its link has recovered: a receiver's estimate does not grow past about 1.5
 * times what arrives. So it is tried on the full rendition again after 15 s, and after twice as long whenever that failed.
 *
 * Viewers may lie. A low estimate is not believed when the viewer's own reports show that more arrived undamaged; without
 * reports it moves that viewer alone to the low rendition; with reports that agree it is a thin link, and those are moved, too,
 * when they are far below the others. While a viewer is too slow it does not count in the shared rate, on a try neither: the
 * others see no dip. What "the others" can take is voted by address, so that one client with many sessions is one: its fastest
 * session speaks. What remains: liars of more than half of the addresses; a viewer that claims at least GOOD_ENOUGH and reports loss to match slows the others to that.
 *
 * Worst case: n log n in the viewers, once a second.
 */
export class BitrateController {
  #limits: BitrateLimits;
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

  /** From the next update on; a rate outside the new limits moves into them at once. */
  setLimits(limits: BitrateLimits): void {
    this.#limits = limits;
    this.#fullBps = Math.min(limits.maxBps, Math.max(limits.minBps, this.#fullBps));
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
    const links = new Map<string, Link>();
    for (const [id, report] of reported) {
      const bps = this.#believable(id, report, nowUs);
      if (bps === undefined) continue;
      const { firstSeenUs, overloaded } = this.#viewer(id, nowUs);
      const settlingUs = report.reportedAtUs === undefined ? REPORTS_MISSING_US : SETTLING_US;
      const settled = nowUs - firstSeenUs >= settlingUs || overloaded !== undefined;
      const supported = nowUs - (report.reportedAtUs ?? -Infinity) < REPORTS_MISSING_US;
      links.set(id, { bps, supported, settled, voter: report.voter ?? `viewer ${id}` });
    }
    const slow = this.#slow(links);
    for (const id of links.keys()) this.#judge(id, slow.has(id), nowUs);

    const low = new Set<string>();
    const full: [string, Link][] = [];
    for (const [id, link] of links) {
      if (this.#viewers.get(id)?.rendition === 'low') low.add(id);
      else full.push([id, link]);
    }
    const fast = full.filter(([id]) => !slow.has(id));
    const shared = sharedRate((fast.length > 0 ? fast : full).map(([, link]) => link));
    const { minBps, startBps, maxBps } = this.#limits;
    if (shared !== undefined) this.#fullBps = Math.round(Math.min(maxBps, Math.max(minBps, shared * HEADROOM)));
    else if (links.size === 0) this.#fullBps = startBps;
    return { low };
  }

  /** Viewers that are far below what the others can take, or below the smallest full bit rate. */
  #slow(links: ReadonlyMap<string, Link>): ReadonlySet<string> {
    const { minBps, startBps, maxBps } = this.#limits;
    const votes = new Map<string, number>();
    for (const { settled, bps, voter } of links.values()) {
      if (settled) votes.set(voter, Math.max(votes.get(voter) ?? 0, Math.min(bps, maxBps / HEADROOM)));
    }
    const upperBps = percentile([...votes.values()], UPPER_QUANTILE) ?? 0;
    const farBelowBps = Math.min(upperBps * FAR_BELOW, (startBps * GOOD_ENOUGH) / HEADROOM);
    const slow = new Set<string>();
    for (const [id, { bps, supported, settled }] of links) {
      const floorBps = supported ? farBelowBps : upperBps * UNSUPPORTED_BELOW;
      if (settled && bps < Math.max(minBps / HEADROOM, floorBps)) slow.add(id);
    }
    return slow;
  }

  #viewer(id: string, nowUs: MonotonicUs): ViewerRecord {
    let viewer = this.#viewers.get(id);
    if (viewer === undefined) {
      const since = { firstSeenUs: nowUs, sinceUs: nowUs, slowSinceUs: undefined };
      const rates = { carried: new CarriedRate(), overloaded: undefined };
      viewer = { rendition: 'full', trying: false, retryUs: FIRST_RETRY_US, ...since, ...rates };
      this.#viewers.set(id, viewer);
    }
    return viewer;
  }

  /** @returns bit/s; undefined: nothing is known of this viewer's link yet */
  #believable(id: string, report: ViewerReport, nowUs: MonotonicUs): number | undefined {
    const viewer = this.#viewer(id, nowUs);
    const { estimateBps, deliveredBps, reportedAtUs = 0 } = report;
    const knownBps = Math.max(estimateBps ?? 0, viewer.carried.update(report, nowUs) / HEADROOM);
    const settled = estimateBps !== undefined && nowUs - viewer.firstSeenUs >= SETTLING_US;
    const believedBps = settled ? knownBps : Math.max(knownBps, this.#limits.startBps / HEADROOM);
    const isNew = reportedAtUs > (viewer.overloaded?.atUs ?? 0);
    if (isNew && lostShare(report) > OVERLOADED_LOST && deliveredBps !== undefined) {
      viewer.overloaded = { bps: deliveredBps / HEADROOM, atUs: nowUs };
    }
    if (viewer.overloaded === undefined) return estimateBps === undefined ? undefined : believedBps;
    const { bps, atUs } = viewer.overloaded;
    const takenBps = bps * GROWTH_PER_SECOND ** ((nowUs - atUs) / 1e6);
    if (takenBps >= believedBps) viewer.overloaded = undefined;
    return Math.min(takenBps, believedBps);
  }

  #judge(id: string, slow: boolean, nowUs: MonotonicUs): void {
    const viewer = this.#viewer(id, nowUs);
    if (viewer.rendition === 'low') {
      if (nowUs - viewer.sinceUs < viewer.retryUs) return;
      Object.assign(viewer, { rendition: 'full', sinceUs: nowUs, trying: true, slowSinceUs: undefined });
      return;
    }
    if (!slow) {
      viewer.slowSinceUs = undefined;
      if (nowUs - viewer.sinceUs > SETTLED_US) viewer.retryUs = FIRST_RETRY_US;
      return;
    }
    viewer.slowSinceUs ??= nowUs;
    if (nowUs - viewer.slowSinceUs < DOWN_AFTER_US) return;
    const failedAgain = viewer.trying && nowUs - viewer.sinceUs < SETTLED_US;
    const retryUs = failedAgain ? Math.min(MAX_RETRY_US, viewer.retryUs * 2) : FIRST_RETRY_US;
    Object.assign(viewer, { rendition: 'low', sinceUs: nowUs, trying: false, slowSinceUs: undefined, retryUs });
  }
}

/** Claims without reports count only when no viewer has reports, and then the highest do. */
function sharedRate(links: readonly Link[]): number | undefined {
  const settled = links.filter((link) => link.settled);
  const known = settled.length > 0 ? settled : links;
  const supported = known.filter((link) => link.supported);
  const counted = supported.length > 0 ? supported : known;
  return percentile(
    counted.map(({ bps }) => bps),
    supported.length > 0 ? SHARED_PERCENTILE : UPPER_QUANTILE,
  );
}

/** Nearest rank from below, so that of two viewers the slower one counts. */
function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
