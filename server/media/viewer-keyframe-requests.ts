import { KeyframeRequests } from './keyframe-requests.ts';
import { TokenBucket } from './token-bucket.ts';
import type { MonotonicUs } from './types.ts';

export interface ViewerKeyframeLimits {
  /** Requests closer than this are one. */
  readonly intervalMs: number;
  /** Keyframes that one viewer can cause at once, and after how long it can cause another. */
  readonly viewerBurst: number;
  readonly viewerEveryMs: number;
  /** The same for all viewers together. */
  readonly burst: number;
  readonly everyMs: number;
}

const LIMITS: ViewerKeyframeLimits = {
  intervalMs: 500,
  viewerBurst: 3,
  viewerEveryMs: 3000,
  burst: 6,
  everyMs: 1000,
};

/**
 * Keyframe requests (PLI, FIR, joins) of many viewers for one encode, or for the publisher's stream: merged, and within a
 * budget for each viewer. A keyframe for one viewer costs all others quality: at 1.2 Mbit/s two a second take 1.4 dB. A
 * request beyond the budget waits for its turn, and any keyframe satisfies it.
 *
 * Worst case: a request costs O(1) unless one is due; poll() looks at the waiting viewers only when one of them may be due.
 */
export class ViewerKeyframeRequests {
  readonly #limits: ViewerKeyframeLimits;
  readonly #merged: KeyframeRequests;
  readonly #overall: TokenBucket;
  readonly #budgets = new Map<string, TokenBucket>();
  readonly #waiting = new Set<string>();
  /** Before this nothing is due, unless a request comes. */
  #nextAtUs: MonotonicUs = -Infinity;
  #deferred = 0;

  constructor(limits: Partial<ViewerKeyframeLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
    this.#merged = new KeyframeRequests(this.#limits.intervalMs);
    this.#overall = new TokenBucket({ burst: this.#limits.burst, perSecond: 1000 / this.#limits.everyMs });
  }

  /** Requests that had to wait because their viewer's budget was spent. */
  get deferred(): number {
    return this.#deferred;
  }

  /** @returns true if a keyframe shall be asked for now */
  request(viewer: string, nowUs: MonotonicUs): boolean {
    if (this.#waiting.has(viewer)) return this.poll(nowUs);
    this.#waiting.add(viewer);
    const availableAtUs = this.#budget(viewer).availableAtUs(nowUs);
    if (availableAtUs > nowUs) this.#deferred += 1;
    this.#nextAtUs = Math.min(this.#nextAtUs, availableAtUs);
    return this.poll(nowUs);
  }

  /** To be called regularly. @returns true if a keyframe shall be asked for now */
  poll(nowUs: MonotonicUs): boolean {
    if (this.#waiting.size === 0 || nowUs < this.#nextAtUs) return false;
    const due: string[] = [];
    let nextAtUs = Infinity;
    for (const viewer of this.#waiting) {
      const availableAtUs = this.#budget(viewer).availableAtUs(nowUs);
      if (availableAtUs <= nowUs) due.push(viewer);
      else nextAtUs = Math.min(nextAtUs, availableAtUs);
    }
    const allowedAtUs = Math.max(this.#merged.nextAtUs, this.#overall.availableAtUs(nowUs));
    this.#nextAtUs = Math.max(allowedAtUs, due.length === 0 ? nextAtUs : nowUs);
    if (this.#nextAtUs > nowUs) return false;
    this.#overall.take(nowUs);
    this.#merged.request(nowUs);
    for (const viewer of due) {
      this.#budget(viewer).take(nowUs);
      this.#waiting.delete(viewer);
    }
    this.#nextAtUs = nextAtUs;
    return true;
  }

  /** A keyframe came (or was encoded): the requests made before it are answered. */
  satisfied(): void {
    this.#waiting.clear();
    this.#merged.satisfied();
    this.#nextAtUs = -Infinity;
  }

  /** The viewer has left. */
  forget(viewer: string): void {
    this.#waiting.delete(viewer);
    this.#budgets.delete(viewer);
  }

  #budget(viewer: string): TokenBucket {
    let budget = this.#budgets.get(viewer);
    if (budget === undefined) {
      budget = new TokenBucket({ burst: this.#limits.viewerBurst, perSecond: 1000 / this.#limits.viewerEveryMs });
      this.#budgets.set(viewer, budget);
    }
    return budget;
  }
}
