/** While memory is taken and code compiled, pictures take up to twice as long (seen: three of them); one more is the rung's before. */
const SKIPPED_PICTURES = 4;
const LOOKED_AT_PICTURES = 8;

/**
 * What a picture costs on a rung, from its first dozen: told once, so that a rung which cannot hold is left within half a
 * second. The fastest quarter counts: what disturbs a start makes single pictures slow, a rung too dear makes all of them slow.
 * For rungs that answer picture by picture. Pure.
 */
export class FirstLook {
  #seen = 0;
  #times: number[] = [];

  /** @param upscaleUs from push to result @returns microseconds a picture, with the picture that completes the look */
  add(upscaleUs: number): number | undefined {
    this.#seen += 1;
    if (this.#seen <= SKIPPED_PICTURES || this.#seen > SKIPPED_PICTURES + LOOKED_AT_PICTURES) return undefined;
    this.#times.push(upscaleUs);
    if (this.#times.length < LOOKED_AT_PICTURES) return undefined;
    return this.#times.sort((a, b) => a - b)[LOOKED_AT_PICTURES >> 2];
  }

  /** Another rung, or pictures of another size. */
  restart(): void {
    this.#seen = 0;
    this.#times = [];
  }
}
