/** Later than this the rest is not rushed after what is late, but everything moves. */
const MAX_LATE_MS = 500;

/** When packets of a file, or of segments that come at once, are due: by the wall clock from the first one on. Time is an argument. */
export class Pacer {
  /** Wall time minus media time. */
  #anchorMs: number | undefined;

  /** @returns how long to wait with a packet of this decoding time */
  waitMs(seconds: number, nowMs: number): number {
    const mediaMs = seconds * 1000;
    this.#anchorMs ??= nowMs - mediaMs;
    const waitMs = this.#anchorMs + mediaMs - nowMs;
    if (waitMs < -MAX_LATE_MS) this.#anchorMs = nowMs - mediaMs;
    return Math.max(0, waitMs);
  }
}
