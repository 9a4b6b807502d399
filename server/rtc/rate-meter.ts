import type { MonotonicUs } from '../media/types.ts';

/** Sums over the last full second, in steps of 100 ms. */
export class RateMeter {
  readonly #buckets = new Float64Array(11);
  readonly #slots = new Float64Array(11).fill(-1);

  add(value: number, nowUs: MonotonicUs): void {
    const slot = Math.floor(nowUs / 100_000);
    const at = slot % 11;
    if (this.#slots[at] !== slot) {
      this.#slots[at] = slot;
      this.#buckets[at] = 0;
    }
    this.#buckets[at] = (this.#buckets[at] as number) + value;
  }

  /** Per second, over the ten complete steps before now. */
  perSecond(nowUs: MonotonicUs): number {
    const slot = Math.floor(nowUs / 100_000);
    let sum = 0;
    for (let back = 1; back <= 10; back += 1) {
      const at = (slot - back + 11) % 11;
      if (this.#slots[at] === slot - back) sum += this.#buckets[at] as number;
    }
    return sum;
  }
}
