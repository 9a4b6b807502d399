/** While memory is taken and code compiled, pictures take up to twice as long (seen: three of them); one more is the rung's before. */
const SKIPPED_PICTURES = 4;
const PICTURES = 12;
/** Rank, from the fastest, of the one that counts. */
const QUARTER = (PICTURES - SKIPPED_PICTURES) >> 2;

/**
 * What a picture costs on a rung, from its first dozen: told once, so that a rung which cannot hold is left within half a
 * second. The fastest quarter counts: what disturbs a start makes single pictures slow, a rung too dear makes all of them slow.
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
