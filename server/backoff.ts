export interface BackoffLimits {
  readonly firstMs: number;
  readonly maxMs: number;
  /** What worked this long was healthy: the next failure begins with `firstMs`. */
  readonly healthyMs: number;
}

const LIMITS: BackoffLimits = { firstMs: 1000, maxMs: 60_000, healthyMs: 30_000 };
/** Sources and outputs that one server lost must not come back to it in the same instant. */
const JITTER = 0.2;

/** How long to wait before the next attempt: doubled with each failure, spread by a fifth. Time and chance are arguments. */
export class Backoff {
  readonly #limits: BackoffLimits;
  #nextMs: number;

  constructor(limits: Partial<BackoffLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
    this.#nextMs = this.#limits.firstMs;
  }

  /**
   * @param workedMs how long the attempt worked before it failed
   * @param atLeastMs what the other side asked for
   * @param random 0..1
   */
  next(workedMs: number, atLeastMs = 0, random = Math.random()): number {
    if (workedMs >= this.#limits.healthyMs) this.#nextMs = this.#limits.firstMs;
    const waitMs = this.#nextMs * (1 + JITTER * (2 * random - 1));
    this.#nextMs = Math.min(this.#limits.maxMs, this.#nextMs * 2);
    return Math.max(Math.round(waitMs), atLeastMs);
  }
}
