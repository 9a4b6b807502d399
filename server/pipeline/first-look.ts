/** The first pictures pay for allocation and JIT (three observed); one more may still belong to the previous rung. */
const SKIPPED_PICTURES = 4;
const PICTURES = 12;
/** Rank, from the fastest, of the one that counts. */
const QUARTER = (PICTURES - SKIPPED_PICTURES) >> 2;

/**
 * What a picture costs on a rung, from its first dozen: reported once, so that an unsustainable rung is abandoned within half a
 * second. The fastest quarter counts: a disturbed start makes single pictures slow, an unsustainable rung makes all of them slow.
 * For rungs that answer picture by picture. Pure.
 */
export class FirstLook {
  #times: number[] = [];

  /** @param upscaleUs from push to result @returns microseconds a picture, with the picture that completes the look */
  add(upscaleUs: number): number | undefined {
    if (this.#times.length === PICTURES) return undefined;
    this.#times.push(upscaleUs);
    if (this.#times.length < PICTURES) return undefined;
    return this.#times.slice(SKIPPED_PICTURES).sort((a, b) => a - b)[QUARTER];
  }

  /** Another rung, or pictures of another size. */
  restart(): void {
    this.#times = [];
  }
}
