/**
 * Turns a wrapping counter (RTP sequence number: 16 bits, RTP timestamp: 32 bits, transport-cc sequence: 16 bits) into a
 * number that never wraps. Values up to half the range ahead of the newest one count as newer, the others as older.
 */
export class Unwrapper {
  readonly #range: number;
  #newest: number | undefined;

  constructor(bits: 16 | 24 | 32) {
    this.#range = 2 ** bits;
  }

  /** The newest unwrapped value so far. */
  get newest(): number | undefined {
    return this.#newest;
  }

  /** @returns the unwrapped value; older than the first one seen may be negative. */
  unwrap(value: number): number {
    if (this.#newest === undefined) {
      this.#newest = value;
      return value;
    }
    const result = this.peek(value);
    if (result > this.#newest) this.#newest = result;
    return result;
  }

  /** Like unwrap() without moving the reference: for numbers that peers mention (NACK, feedback), not ones that arrive. */
  peek(value: number): number {
    if (this.#newest === undefined) return value;
    const ahead = modulo(value - this.#newest, this.#range);
    return this.#newest + (ahead < this.#range / 2 ? ahead : ahead - this.#range);
  }
}

export function modulo(value: number, range: number): number {
  const rest = value % range;
  return rest < 0 ? rest + range : rest;
}
