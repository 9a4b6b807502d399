const WINDOW = 64;

/** Sequence numbers of one epoch seen lately (RFC 6347 section 4.1.2.6). Only authentic records may be accepted into it. */
export class ReplayWindow {
  #newest = -1;
  /** Bit n: `#newest - n` was seen. */
  #seen = 0n;

  /** Seen, or too old to know. */
  isReplay(sequence: number): boolean {
    if (sequence > this.#newest) return false;
    const age = this.#newest - sequence;
    return age >= WINDOW || ((this.#seen >> BigInt(age)) & 1n) === 1n;
  }

  accept(sequence: number): void {
    if (sequence > this.#newest) {
      const step = sequence - this.#newest;
      this.#seen = step >= WINDOW ? 1n : BigInt.asUintN(WINDOW, this.#seen << BigInt(step)) | 1n;
      this.#newest = sequence;
    } else {
      this.#seen |= 1n << BigInt(this.#newest - sequence);
    }
  }
}
