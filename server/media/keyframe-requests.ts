import type { MonotonicUs } from './types.ts';

/**
 * Merges keyframe requests: at most one passes per interval, later ones wait for its end, and one that a keyframe has
 * meanwhile answered is forgotten. Alone towards the publisher, behind the viewers' budgets in ViewerKeyframeRequests.
 */
export class KeyframeRequests {
  readonly #intervalUs: number;
  #passedAtUs = -Infinity;
  #pending = false;

  constructor(intervalMs = 500) {
    this.#intervalUs = intervalMs * 1000;
  }

  /** Before this no request passes. */
  get nextAtUs(): MonotonicUs {
    return this.#passedAtUs + this.#intervalUs;
  }

  /** @returns true if the request shall go out now */
  request(nowUs: MonotonicUs): boolean {
    this.#pending = true;
    return this.poll(nowUs);
  }

  /** To be called regularly: @returns true when a request that had to wait shall go out now */
  poll(nowUs: MonotonicUs): boolean {
    if (!this.#pending || nowUs - this.#passedAtUs < this.#intervalUs) return false;
    this.#pending = false;
    this.#passedAtUs = nowUs;
    return true;
  }

  /** A keyframe came (or was encoded): requests made before it are answered. */
  satisfied(): void {
    this.#pending = false;
  }
}
