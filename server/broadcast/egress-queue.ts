import type { EncodedFrame } from '../media/types.ts';

export interface EgressQueueLimits {
  readonly maxFrames: number;
  readonly maxBytes: number;
}

/** Two seconds at 60 frames/s, and four of the largest frames that a viewer's bit rate allows many times over. */
const LIMITS: EgressQueueLimits = { maxFrames: 120, maxBytes: 16 * 1024 * 1024 };

/**
 * What stands between a broadcast, which never waits, and a subscriber that writes to something slower than memory: a disk, a
 * TCP connection. Bounded in frames and bytes. A frame that does not fit is refused (drop reason `egress-slow`), and so is
 * everything until the subscriber's gate opens again with a keyframe, because a decoder could not use it.
 */
export class EgressQueue<Item extends { readonly data: Uint8Array } = EncodedFrame> {
  readonly #limits: EgressQueueLimits;
  #frames: Item[] = [];
  #bytes = 0;
  #waiting: ((frame: Item | undefined) => void) | undefined;
  #closed = false;

  constructor(limits: Partial<EgressQueueLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
  }

  get frames(): number {
    return this.#frames.length;
  }

  /** @returns false when there is no room: the frame is dropped */
  push(frame: Item): boolean {
    if (this.#closed) return false;
    if (this.#waiting !== undefined) {
      const resolve = this.#waiting;
      this.#waiting = undefined;
      resolve(frame);
      return true;
    }
    const { maxFrames, maxBytes } = this.#limits;
    if (this.#frames.length >= maxFrames || this.#bytes + frame.data.length > maxBytes) return false;
    this.#frames.push(frame);
    this.#bytes += frame.data.length;
    return true;
  }

  /** One reader at a time. @returns undefined after close(), when all that was taken in has been read */
  async next(): Promise<Item | undefined> {
    const frame = this.#frames.shift();
    if (frame !== undefined) {
      this.#bytes -= frame.data.length;
      return frame;
    }
    if (this.#closed) return undefined;
    return await new Promise((resolve) => (this.#waiting = resolve));
  }

  /** Takes no more; what is inside can still be read. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#waiting?.(undefined);
    this.#waiting = undefined;
  }
}
