import type { MonotonicUs } from './types.ts';

export interface TokenBucketOptions {
  /** Tokens at the start, and the most it holds. */
  readonly burst: number;
  readonly perSecond: number;
}

/** Rounding of times: this much of a token is not missing. */
const EPSILON = 1e-6;

/** A budget for work that a peer can cause: `burst` at once, `perSecond` in the long run. O(1) a call; time is an argument. */
export class TokenBucket {
  readonly #options: TokenBucketOptions;
  #tokens: number;
  #filledAtUs: MonotonicUs | undefined;

  constructor(options: TokenBucketOptions) {
    this.#options = options;
    this.#tokens = options.burst;
  }

  /** Takes all of `count` tokens or none. */
  take(nowUs: MonotonicUs, count = 1): boolean {
    this.#fill(nowUs);
    if (this.#tokens < count - EPSILON) return false;
    this.#tokens = Math.max(0, this.#tokens - count);
    return true;
  }

  /** When `count` tokens will be there; now or earlier if they are. */
  availableAtUs(nowUs: MonotonicUs, count = 1): MonotonicUs {
    this.#fill(nowUs);
    const missing = count - this.#tokens;
    return missing <= EPSILON ? nowUs : nowUs + (missing * 1e6) / this.#options.perSecond;
  }

  /** Nothing has been taken lately: the bucket is as good as a new one. */
  isFull(nowUs: MonotonicUs): boolean {
    this.#fill(nowUs);
    return this.#tokens >= this.#options.burst - EPSILON;
  }

  #fill(nowUs: MonotonicUs): void {
    const { burst, perSecond } = this.#options;
    const elapsedSeconds = Math.max(0, nowUs - (this.#filledAtUs ?? nowUs)) / 1e6;
    this.#tokens = Math.min(burst, this.#tokens + elapsedSeconds * perSecond);
    this.#filledAtUs = nowUs;
  }
}
