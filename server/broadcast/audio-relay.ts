import { AudioDelay } from '../media/audio-delay.ts';
import type { MonotonicUs } from '../media/types.ts';
import type { ForwardPacket } from '../rtc/peers.ts';

/** Runs a broadcast's audio delay line with one timer. */
export class AudioRelay {
  readonly #line = new AudioDelay<ForwardPacket>();
  readonly #nowUs: () => MonotonicUs;
  readonly #send: (packet: ForwardPacket) => void;
  readonly #onError: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;

  /** @param onError what sending threw; from a timer it would end the process, and with it every other broadcast */
  constructor(nowUs: () => MonotonicUs, send: (packet: ForwardPacket) => void, onError: (error: unknown) => void) {
    this.#nowUs = nowUs;
    this.#send = send;
    this.#onError = onError;
  }

  get delayMs(): number {
    return this.#line.delayMs;
  }

  /** Fixed per broadcast and model; rungs of the overload ladder do not move it. */
  setDelay(delayMs: number): void {
    this.#line.setDelay(delayMs);
  }

  push(packet: ForwardPacket): void {
    this.#line.push(packet);
    this.#pump();
  }

  clear(): void {
    this.#line.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #pump(): void {
    for (const packet of this.#line.take(this.#nowUs())) {
      try {
        this.#send(packet);
      } catch (error) {
        this.#onError(error);
      }
    }
    const nextAtUs = this.#line.nextDueAtUs;
    if (nextAtUs === undefined || this.#timer !== undefined) return;
    const waitMs = Math.max(1, Math.ceil((nextAtUs - this.#nowUs()) / 1000));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#pump();
    }, waitMs);
  }
}
