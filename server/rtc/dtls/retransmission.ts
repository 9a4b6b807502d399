import type { Clock } from './clock.ts';
import type { Flight } from './flight.ts';
import {
  FIRST_RETRANSMIT_MS,
  LEAST_FIRST_RETRANSMIT_MS,
  MAX_RETRANSMIT_MS,
  MAX_TRANSMISSIONS_PER_FLIGHT,
  MIN_REPEAT_INTERVAL_MS,
  MOST_FIRST_RETRANSMIT_MS,
} from './limits.ts';

/** Sends our latest flight, and sends it again (RFC 6347 section 4.2.4): by a timer that doubles, or when the peer repeats its own. */
export class Retransmission {
  readonly #clock: Clock;
  readonly #transmit: (flight: Flight) => void;
  readonly #roundTripMs: () => number | undefined;
  #flight: Flight | undefined;
  #transmissions = 0;
  #sentAtMs = 0;
  #timeoutMs = FIRST_RETRANSMIT_MS;
  #cancel: (() => void) | undefined;

  /** @param roundTripMs of the path at this moment; undefined while nothing has measured it */
  constructor(clock: Clock, transmit: (flight: Flight) => void, roundTripMs: () => number | undefined) {
    this.#clock = clock;
    this.#transmit = transmit;
    this.#roundTripMs = roundTripMs;
  }

  /** @param last nothing answers it: it is repeated only when the peer repeats what it answers */
  send(flight: Flight, last: boolean): void {
    this.stop();
    this.#flight = flight;
    this.#transmissions = 0;
    this.#timeoutMs = firstTimeoutMs(this.#roundTripMs());
    this.#sendNow();
    if (!last) this.#arm();
  }

  /** The peer repeats what our flight answers. Bounded in rate and number: its repetitions may be forged. */
  peerRepeats(): void {
    if (this.#clock.nowMs() - this.#sentAtMs >= MIN_REPEAT_INTERVAL_MS) this.#sendNow();
  }

  /** The peer has answered, or everything is over. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #arm(): void {
    this.#cancel = this.#clock.after(this.#timeoutMs, () => {
      this.#timeoutMs = Math.min(2 * this.#timeoutMs, MAX_RETRANSMIT_MS);
      this.#sendNow();
      this.#arm();
    });
  }

  #sendNow(): void {
    if (this.#flight === undefined || this.#transmissions >= MAX_TRANSMISSIONS_PER_FLIGHT) return;
    this.#transmissions += 1;
    this.#sentAtMs = this.#clock.nowMs();
    this.#transmit(this.#flight);
  }
}

function firstTimeoutMs(roundTripMs: number | undefined): number {
  if (roundTripMs === undefined) return FIRST_RETRANSMIT_MS;
  return Math.min(Math.max(2 * roundTripMs, LEAST_FIRST_RETRANSMIT_MS), MOST_FIRST_RETRANSMIT_MS);
}
