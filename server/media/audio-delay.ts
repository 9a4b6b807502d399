import type { MonotonicUs } from './types.ts';

/** Changes of the wanted delay below this are slewed, which is inaudible; larger ones are a step. */
const STEP_FROM_MS = 40;
/** Packets held at most: 4 s of the shortest Opus frames (2.5 ms). Beyond it the oldest leave early. */
const MAX_PACKETS = 1600;
/** Slewing speed: 5 ms a second is half a percent, far below what an ear notices. */
const SLEW_MS_PER_SECOND = 5;

/**
 * Holds a broadcast's audio back by the video's presentation delay, so that lips match. The delay counts from each
 * packet's arrival and is the same for every viewer. Bounded: a packet leaves after `delayMs`, or when 1600 wait. O(1) a packet.
 */
export class AudioDelay<Packet extends { readonly receivedAtUs: MonotonicUs }> {
  readonly #queue: { readonly packet: Packet; readonly dueAtUs: MonotonicUs }[] = [];
  #delayMs = 0;
  #targetMs = 0;
  #slewedAtUs: MonotonicUs | undefined;

  /** The delay in force now, ms. */
  get delayMs(): number {
    return this.#delayMs;
  }

  setDelay(delayMs: number): void {
    this.#targetMs = delayMs;
    if (Math.abs(delayMs - this.#delayMs) >= STEP_FROM_MS) this.#delayMs = delayMs;
  }

  push(packet: Packet): void {
    this.#slew(packet.receivedAtUs);
    const dueAtUs = packet.receivedAtUs + this.#delayMs * 1000;
    // A step down must not let a packet overtake its predecessors.
    const previous = this.#queue.at(-1)?.dueAtUs ?? -Infinity;
    this.#queue.push({ packet, dueAtUs: Math.max(dueAtUs, previous) });
  }

  /** @returns the packets due by now, in order */
  take(nowUs: MonotonicUs): Packet[] {
    let due = Math.max(0, this.#queue.length - MAX_PACKETS);
    while (due < this.#queue.length && (this.#queue[due]?.dueAtUs ?? Infinity) <= nowUs) due += 1;
    return this.#queue.splice(0, due).map(({ packet }) => packet);
  }

  /** When the next packet is due; undefined when there is none. */
  get nextDueAtUs(): MonotonicUs | undefined {
    const first = this.#queue[0];
    return this.#queue.length > MAX_PACKETS ? first?.packet.receivedAtUs : first?.dueAtUs;
  }

  clear(): void {
    this.#queue.length = 0;
  }

  #slew(nowUs: MonotonicUs): void {
    const elapsedSeconds = this.#slewedAtUs === undefined ? 0 : Math.max(0, nowUs - this.#slewedAtUs) / 1e6;
    this.#slewedAtUs = nowUs;
    const limit = SLEW_MS_PER_SECOND * elapsedSeconds;
    this.#delayMs += Math.max(-limit, Math.min(limit, this.#targetMs - this.#delayMs));
  }
}
