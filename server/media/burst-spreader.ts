import type { MonotonicUs } from './types.ts';

export interface BurstSpreaderOptions {
  /** Packets of one frame that leave at once; the rest is spread. */
  readonly burstPackets: number;
  /** A burst's rest leaves within this time, evenly. */
  readonly spreadUs: number;
}

/** A keyframe of 4 MiB has 3700 packets. */
const MAX_PENDING = 4096;
/** Sent entries are cut off the queue's front in pieces of this size. */
const COMPACT_FROM = 1024;

/**
 * Spreads the packets of a large frame (a keyframe) of one viewer over a little time: sent at once it overflows the
 * smallest buffer on the way, and with many viewers it holds up the event loop. Frames of ordinary size are not touched.
 * No timers: take() is called every few milliseconds while pending.
 *
 * Worst case: linear in the packets; it holds those of the last spreadUs, and past MAX_PENDING the oldest leave at once.
 */
export class BurstSpreader<Packet> {
  readonly #options: BurstSpreaderOptions;
  #queue: Packet[] = [];
  #head = 0;
  #endUs: MonotonicUs = 0;
  #takenUs: MonotonicUs = 0;

  constructor(options: BurstSpreaderOptions) {
    this.#options = options;
  }

  get pending(): number {
    return this.#queue.length - this.#head;
  }

  /** @returns what leaves now: everything, unless the frame is large or an earlier one is still leaving */
  push(packets: readonly Packet[], nowUs: MonotonicUs): readonly Packet[] {
    const { burstPackets, spreadUs } = this.#options;
    if (this.pending === 0 && packets.length <= burstPackets) return packets;
    const now = this.pending === 0 ? packets.slice(0, burstPackets) : [];
    if (this.pending === 0) {
      this.#queue = packets.slice(now.length);
      this.#head = 0;
      this.#takenUs = nowUs;
    } else {
      for (const packet of packets) this.#queue.push(packet);
    }
    this.#endUs = nowUs + spreadUs;
    return this.pending > MAX_PENDING ? [...now, ...this.#leave(this.pending - MAX_PENDING)] : now;
  }

  /** @returns the share that is due since the last call */
  take(nowUs: MonotonicUs): readonly Packet[] {
    if (this.pending === 0) return [];
    const remainingUs = this.#endUs - this.#takenUs;
    const share = remainingUs <= 0 ? 1 : Math.min(1, (nowUs - this.#takenUs) / remainingUs);
    const count = Math.ceil(this.pending * share);
    this.#takenUs = nowUs;
    return this.#leave(count);
  }

  clear(): void {
    this.#queue = [];
    this.#head = 0;
  }

  #leave(count: number): Packet[] {
    const due = this.#queue.slice(this.#head, this.#head + count);
    this.#head += count;
    if (this.pending === 0) this.clear();
    else if (this.#head >= COMPACT_FROM) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return due;
  }
}
