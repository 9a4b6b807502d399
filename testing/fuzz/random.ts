/** A seeded generator: a failure is repeated by its seed and iteration. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 to below - 1; below at most 2^32. */
  int(below: number): number {
    // mulberry32
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.int(times) === 0;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.int(values.length)] as T;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; at += 1) bytes[at] = this.int(256);
    return bytes;
  }

  /** A copy with a few bytes changed, cut off, repeated or put in. */
  mutate(input: Uint8Array): Buffer {
    let bytes = Buffer.from(input);
    for (let change = this.int(4); change >= 0; change -= 1) {
      const at = this.int(bytes.length + 1);
      switch (this.int(6)) {
        case 0:
          if (at < bytes.length) bytes[at] = this.int(256);
          break;
        case 1:
          if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << this.int(8));
          break;
        case 2:
          if (at < bytes.length) bytes[at] = this.pick([0, 1, 0x7f, 0x80, 0xff]);
          break;
        case 3:
          bytes = bytes.subarray(0, at);
          break;
        case 4:
          bytes = Buffer.concat([bytes.subarray(0, at), this.bytes(this.int(20)), bytes.subarray(at)]);
          break;
        case 5:
          bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(0, at), bytes.subarray(at)]);
          break;
      }
      if (bytes.length > 4096) bytes = bytes.subarray(0, 4096);
    }
    return bytes;
  }
}
