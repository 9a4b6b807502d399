import { addressKey } from './limits.ts';

/** One failure is forgotten after this long. */
const FORGET_MS = 10_000;
/** The delay doubles with each failure up to this many times the first. */
const MOST_TIMES = 16;
/** An address that waits for this many answers gets the next ones at once: 429. */
const MAX_WAITING = 16;
const MAX_ADDRESSES = 8192;

interface Entry {
  failures: number;
  updatedMs: number;
  waiting: number;
}

/** How long an answer to a wrong credential is held back, by the failures of its address. No sockets, time is an argument. */
export class FailureDelays {
  readonly #firstMs: number;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();

  /** @param firstMs of the first failure; 0: no delay */
  constructor(firstMs: number) {
    this.#firstMs = firstMs;
  }

  get addresses(): number {
    return this.#entries.size;
  }

  /** Counts a failure. @returns milliseconds to wait before leave(); undefined when too many of the address wait already */
  enter(address: string, nowMs: number): number | undefined {
    const key = addressKey(address);
    const entry = this.#entries.get(key) ?? { failures: 0, updatedMs: nowMs, waiting: 0 };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > MAX_ADDRESSES) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    if (this.#firstMs === 0) return 0;
    entry.failures = Math.max(0, entry.failures - (nowMs - entry.updatedMs) / FORGET_MS);
    entry.updatedMs = nowMs;
    if (entry.waiting >= MAX_WAITING) return undefined;
    const delayMs = this.#firstMs * Math.min(MOST_TIMES, 2 ** entry.failures);
    entry.failures = Math.min(entry.failures + 1, 16);
    entry.waiting += 1;
    return delayMs;
  }

  leave(address: string): void {
    const entry = this.#entries.get(addressKey(address));
    if (entry !== undefined) entry.waiting = Math.max(0, entry.waiting - 1);
  }
}
