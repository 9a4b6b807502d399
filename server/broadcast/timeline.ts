import { VIDEO_CLOCK_HZ, type MediaTime, type MonotonicUs } from '../media/types.ts';

/**
 * Keeps one broadcast's time running forward over several publisher connections. Every connection starts its RTP clock
 * somewhere at random (RFC 3550 section 5.1); viewers must see one clock that advances as the wall clock did meanwhile.
 */
export class Timeline {
  readonly #clockHz: number;
  #offset: number | undefined;
  #last: { readonly time: MediaTime; readonly atUs: MonotonicUs } | undefined;

  constructor(clockHz: number = VIDEO_CLOCK_HZ) {
    this.#clockHz = clockHz;
  }

  /** A new connection begins: the next time seen continues where the last one ended. */
  restart(): void {
    this.#offset = undefined;
  }

  /** @param time the connection's own unwrapped time in ticks; @returns the broadcast's time in ticks */
  map(time: MediaTime, nowUs: MonotonicUs): MediaTime {
    if (this.#offset === undefined) {
      const elapsedTicks = this.#last === undefined ? 0 : Math.round(((nowUs - this.#last.atUs) * this.#clockHz) / 1e6);
      const continued = this.#last === undefined ? 0 : this.#last.time + Math.max(1, elapsedTicks);
      this.#offset = continued - time;
    }
    const mapped = time + this.#offset;
    // A late packet of an older frame must not move "last" back.
    if (this.#last === undefined || mapped > this.#last.time) this.#last = { time: mapped, atUs: nowUs };
    return mapped;
  }
}
