import { TokenBucket } from './token-bucket.ts';
import type { MonotonicUs } from './types.ts';

export interface Ordered<T> {
  readonly item: T;
  /** Unwrapped sequence number. */
  readonly sequence: number;
  readonly receivedAtUs: MonotonicUs;
  /** How many packets directly before this one were given up. */
  readonly lostBefore: number;
}

export interface JitterBufferOptions {
  /** How long a missing packet is waited for, counted from when the gap was seen. */
  readonly waitUs: number;
  /** Bound on stored packets; past it the oldest gap is given up at once. */
  readonly maxPackets?: number;
}

interface Missing {
  readonly noticedAtUs: MonotonicUs;
  requestedAtUs: MonotonicUs;
  requests: number;
}

/**
 * Missing packets tracked at once. A wider gap is an outage or a restarted sender: a retransmission of all of it would come
 * after the wait, so the buffer starts again at the newest packet (RFC 3550 appendix A.1 does so from 3000 on).
 */
export const MAX_MISSING = 500;
/** Missing packets that may be newly tracked: at once, and per second. A link that loses more is beyond repair. */
const GAP_BURST = MAX_MISSING;
const GAPS_PER_SECOND = 1000;
const MAX_REQUESTS = 10;
/** Reordering on the path is common within a few milliseconds; a first NACK waits that long (RFC 4585 section 3.5.2). */
const FIRST_REQUEST_AFTER_US = 3_000;
const MIN_REQUEST_INTERVAL_US = 20_000;

/**
 * Puts packets back in order. Nothing is held while packets arrive in order, so it adds no delay without loss; at a gap
 * it waits `waitUs`, asks for retransmission (takeRequests) and then gives up. No timers: call drain() after every
 * insert() and every few milliseconds.
 *
 * Worst case, whatever sequence numbers arrive: a packet costs O(1) plus the gap entries it creates, and those are limited
 * to 500 at once and 1000 a second; takeRequests() goes through at most 500 entries; at most maxPackets + 1 packets are held.
 */
export class JitterBuffer<T> {
  #waitUs: number;
  readonly #maxPackets: number;
  readonly #gapBudget = new TokenBucket({ burst: GAP_BURST, perSecond: GAPS_PER_SECOND });
  #stored = new Map<number, { item: T; receivedAtUs: MonotonicUs }>();
  #missing = new Map<number, Missing>();
  #next: number | undefined;
  #newest = 0;

  constructor({ waitUs, maxPackets = 2048 }: JitterBufferOptions) {
    this.#waitUs = waitUs;
    this.#maxPackets = maxPackets;
  }

  /** How long a missing packet is waited for; a change applies to gaps already noticed, too. */
  get waitUs(): number {
    return this.#waitUs;
  }
  set waitUs(waitUs: number) {
    this.#waitUs = waitUs;
  }

  get size(): number {
    return this.#stored.size;
  }

  get missing(): number {
    return this.#missing.size;
  }

  /**
   * @returns `late`: given up before it came; `restart`: a gap too wide to wait for, everything held was dropped and the
   *   order begins with this packet
   */
  insert(sequence: number, item: T, nowUs: MonotonicUs): 'new' | 'duplicate' | 'late' | 'restart' {
    let result: 'new' | 'restart' = 'new';
    if (this.#next !== undefined && this.#isRestart(sequence, this.#next, nowUs)) {
      this.reset();
      result = 'restart';
    }
    if (this.#next === undefined) {
      this.#next = sequence;
      this.#newest = sequence - 1;
    }
    if (sequence < this.#next) return 'late';
    if (this.#stored.has(sequence)) return 'duplicate';
    this.#missing.delete(sequence);
    for (let gap = this.#newest + 1; gap < sequence; gap += 1) {
      this.#missing.set(gap, { noticedAtUs: nowUs, requestedAtUs: 0, requests: 0 });
    }
    if (sequence > this.#newest) this.#newest = sequence;
    this.#stored.set(sequence, { item, receivedAtUs: nowUs });
    return result;
  }

  /** A retransmission: it fills a gap that is waited for, and never opens one. */
  repair(sequence: number, item: T, nowUs: MonotonicUs): 'new' | 'duplicate' | 'late' {
    if (this.#stored.has(sequence)) return 'duplicate';
    if (!this.#missing.delete(sequence)) return 'late';
    this.#stored.set(sequence, { item, receivedAtUs: nowUs });
    return 'new';
  }

  /** Everything that is in order by now, or whose gap has been given up. */
  drain(nowUs: MonotonicUs): Ordered<T>[] {
    const out: Ordered<T>[] = [];
    let lostBefore = 0;
    while (this.#next !== undefined && this.#next <= this.#newest) {
      const sequence = this.#next;
      const stored = this.#stored.get(sequence);
      if (stored !== undefined) {
        this.#stored.delete(sequence);
        out.push({ item: stored.item, sequence, receivedAtUs: stored.receivedAtUs, lostBefore });
        lostBefore = 0;
      } else {
        const missing = this.#missing.get(sequence);
        const full = this.#stored.size > this.#maxPackets;
        if (!full && missing !== undefined && nowUs - missing.noticedAtUs < this.#waitUs) break;
        this.#missing.delete(sequence);
        lostBefore += 1;
      }
      this.#next = sequence + 1;
    }
    return out;
  }

  /**
   * Sequence numbers to ask for now (generic NACK, RFC 4585 section 6.2.1): each at most once per round trip, never when
   * the answer would come after the packet has been given up.
   * @param roundTripUs 0 if unknown
   */
  takeRequests(nowUs: MonotonicUs, roundTripUs: number): number[] {
    if (this.#missing.size === 0) return [];
    const interval = Math.max(MIN_REQUEST_INTERVAL_US, roundTripUs * 1.25);
    const due: number[] = [];
    for (const [sequence, missing] of this.#missing) {
      const age = nowUs - missing.noticedAtUs;
      if (age < FIRST_REQUEST_AFTER_US || missing.requests >= MAX_REQUESTS) continue;
      if (missing.requests > 0 && nowUs - missing.requestedAtUs < interval) continue;
      if (missing.requests > 0 && age + roundTripUs > this.#waitUs) continue;
      missing.requests += 1;
      missing.requestedAtUs = nowUs;
      due.push(sequence);
    }
    return due;
  }

  reset(): void {
    this.#stored.clear();
    this.#missing.clear();
    this.#next = undefined;
  }

  #isRestart(sequence: number, next: number, nowUs: MonotonicUs): boolean {
    if (next - sequence > this.#maxPackets) return true;
    const gap = sequence - this.#newest - 1;
    if (gap <= 0) return false;
    return this.#missing.size + gap > MAX_MISSING || !this.#gapBudget.take(nowUs, gap);
  }
}
