import type { Reordering } from '../codec/decoder.ts';

/** A measured frame rate moves this much without a reason; every change moves the audio. */
const CHANGED_MS = 4;

/** The delay that a source's B-frames add, as it was last announced. */
export class ReorderDelay {
  #frames = 0;
  #clock: Reordering['clock'] = 'presentation';
  #delayMs = 0;

  /** A picture's time in the decoder, on average: as many frames as it holds. 0: the source has no B-frames. */
  get delayMs(): number {
    return this.#delayMs;
  }

  /**
   * By how much pictures leave behind their media time. Nothing where the publisher stamps decoding times: pictures have the time
   * of the unit that releases them then, and audio of the same time comes with that unit.
   */
  get behindMs(): number {
    return this.#clock === 'presentation' ? this.#delayMs : 0;
  }

  /** @returns true when the delay has changed */
  follow({ frames, clock }: Reordering, framesPerSecond: () => number): boolean {
    const delayMs = frames === 0 ? 0 : Math.round((frames * 1000) / framesPerSecond());
    const same = frames === this.#frames && clock === this.#clock;
    if (same && Math.abs(delayMs - this.#delayMs) < CHANGED_MS) return false;
    this.#frames = frames;
    this.#clock = clock;
    this.#delayMs = delayMs;
    return true;
  }
}
