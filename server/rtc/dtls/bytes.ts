import { MalformedBytes } from './failure.ts';

/** Reads the presentation language of RFC 5246 section 4. @throws MalformedBytes when bytes are missing or left over */
export class ByteReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  uint8(): number {
    return this.take(1)[0] as number;
  }

  uint16(): number {
    return this.take(2).readUInt16BE(0);
  }

  uint24(): number {
    return this.take(3).readUIntBE(0, 3);
  }

  /** A view, not a copy. */
  take(bytes: number): Buffer {
    if (this.remaining < bytes) throw new MalformedBytes(`${bytes} bytes expected, ${this.remaining} left`);
    const view = this.#bytes.subarray(this.#at, this.#at + bytes);
    this.#at += bytes;
    return view;
  }

  /** A vector behind its length of one, two or three bytes. */
  vector(lengthBytes: 1 | 2 | 3, limits: { readonly min?: number; readonly max?: number } = {}): Buffer {
    const length = lengthBytes === 1 ? this.uint8() : lengthBytes === 2 ? this.uint16() : this.uint24();
    const { min = 0, max = Number.MAX_SAFE_INTEGER } = limits;
    if (length < min || length > max)
      throw new MalformedBytes(`a vector of ${length} bytes, allowed are ${min} to ${max}`);
    return this.take(length);
  }

  end(): void {
    if (this.remaining > 0) throw new MalformedBytes(`${this.remaining} bytes too many`);
  }
}

/** The numbers of a vector of 16-bit values. */
export function uint16List(vector: Buffer): number[] {
  if (vector.length % 2 !== 0) throw new MalformedBytes('a list of 16-bit values has an odd length');
  return Array.from({ length: vector.length / 2 }, (_, index) => vector.readUInt16BE(index * 2));
}

export function uint8(value: number): Buffer {
  return Buffer.from([value]);
}

export function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

export function uint24(value: number): Buffer {
  return Buffer.from([value >> 16, (value >> 8) & 0xff, value & 0xff]);
}

/** The parts behind their common length of one, two or three bytes. */
export function vector(lengthBytes: 1 | 2 | 3, ...parts: readonly Buffer[]): Buffer {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  const length = lengthBytes === 1 ? uint8(bytes) : lengthBytes === 2 ? uint16(bytes) : uint24(bytes);
  return Buffer.concat([length, ...parts]);
}

export function uint16Vector(values: readonly number[]): Buffer {
  return vector(2, ...values.map(uint16));
}
