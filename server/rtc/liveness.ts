import type { MonotonicUs } from '../media/types.ts';

/**
 * Whether a peer is still there, by its authenticated packets alone. Consent (RFC 7675): our checks are answered every 4 to
 * 6 s even by a peer that sends nothing else; silence longer than that means the path is gone.
 */
const SILENT_AFTER_US = 8_000_000;
const GONE_AFTER_US = 20_000_000;
/** Between two ticks, of which there are a hundred a second. */
const STALL_US = 1_000_000;

export class Liveness {
  #heardAtUs: MonotonicUs;
  #tickedAtUs: MonotonicUs | undefined;

  constructor(nowUs: MonotonicUs) {
    this.#heardAtUs = nowUs;
  }

  /** An authenticated packet came. */
  heard(atUs: MonotonicUs): void {
    if (atUs > this.#heardAtUs) this.#heardAtUs = atUs;
  }

  /**
   * Time in which this process did not run (a stopped process, a suspended machine, a blocked event loop) is not the peer's
   * silence: packets that came meanwhile are still to be read, and a living peer is heard within the seconds that follow.
   * @returns how long the process did not run
   */
  tick(nowUs: MonotonicUs): number {
    const sinceUs = this.#tickedAtUs === undefined ? 0 : nowUs - this.#tickedAtUs;
    this.#tickedAtUs = nowUs;
    if (sinceUs < STALL_US) return 0;
    this.#heardAtUs = Math.min(nowUs, this.#heardAtUs + sinceUs);
    return sinceUs;
  }

  state(nowUs: MonotonicUs): 'alive' | 'silent' | 'gone' {
    const silentUs = nowUs - this.#heardAtUs;
    if (silentUs > GONE_AFTER_US) return 'gone';
    return silentUs > SILENT_AFTER_US ? 'silent' : 'alive';
  }
}
