/** Open bitstream units of AV1 (AV1 bitstream specification, section 5.3), as far as a server reads them. */

export const OBU = {
  sequenceHeader: 1,
  temporalDelimiter: 2,
  frameHeader: 3,
  tileGroup: 4,
  frame: 6,
  tileList: 8,
  padding: 15,
} as const;

const FORBIDDEN = 0x80;
const EXTENSION = 0x04;
const HAS_SIZE = 0x02;

export interface ObuHeader {
  readonly type: number;
  readonly spatialLayer: number;
  readonly hasSize: boolean;
  /** One, or two with the extension. */
  readonly bytes: number;
}

/** @returns undefined when truncated or with the forbidden bit */
export function parseObuHeader(obu: Uint8Array): ObuHeader | undefined {
  const first = obu[0];
  if (first === undefined || (first & FORBIDDEN) !== 0) return undefined;
  const extended = (first & EXTENSION) !== 0;
  if (extended && obu.length < 2) return undefined;
  return {
    type: (first >> 3) & 0x0f,
    spatialLayer: extended ? ((obu[1] as number) >> 3) & 3 : 0,
    hasSize: (first & HAS_SIZE) !== 0,
    bytes: extended ? 2 : 1,
  };
}

/** leb128() of at most 32 bits (section 4.10.5). @returns undefined when truncated or larger */
export function readLeb128(
  data: Uint8Array,
  at: number,
): { readonly value: number; readonly bytes: number } | undefined {
  let value = 0;
  for (let index = 0; index < 8; index += 1) {
    const byte = data[at + index];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (value > 0xffff_ffff) return undefined;
    if ((byte & 0x80) === 0) return { value, bytes: index + 1 };
  }
  return undefined;
}

export function leb128(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Uint8Array.from(bytes);
}

/** Header and size field in front, and what follows them; undefined: damaged. `obu` may have its size field already, which must be true. */
export function sizedObu(obu: Uint8Array, header: ObuHeader): readonly [Uint8Array, Uint8Array] | undefined {
  let payload = obu.subarray(header.bytes);
  if (header.hasSize) {
    const size = readLeb128(payload, 0);
    if (size === undefined || size.bytes + size.value > payload.length) return undefined;
    payload = payload.subarray(size.bytes, size.bytes + size.value);
  }
  const size = leb128(payload.length);
  const front = new Uint8Array(header.bytes + size.length);
  front.set(obu.subarray(0, header.bytes));
  front[0] = (front[0] as number) | HAS_SIZE;
  front.set(size, header.bytes);
  return [front, payload];
}

/**
 * A shown key frame: show_existing_frame 0, frame_type KEY_FRAME, show_frame 1 (section 5.9.2). In a stream of still pictures
 * (reduced_still_picture_header) every frame is one.
 * @param payload of a frame or frame header OBU
 */
export function isShownKeyframe(payload: Uint8Array, stillPictures: boolean): boolean {
  return stillPictures || ((payload[0] ?? 0xff) & 0xf0) === 0x10;
}

export interface SequenceHeader {
  /** reduced_still_picture_header */
  readonly stillPictures: boolean;
  /** Some frames are of another layer than the base layer, and smaller or larger than it. */
  readonly spatialLayers: boolean;
  /** The most that a frame of the sequence may have; with spatial layers that of the largest. */
  readonly width: number;
  readonly height: number;
}

/** Sequence header OBU (section 5.5.1) up to the size. @param payload without OBU header. @returns undefined when truncated */
export function parseSequenceHeader(payload: Uint8Array): SequenceHeader | undefined {
  const bits = new BitReader(payload);
  bits.read(3 + 1); // seq_profile, still_picture
  const stillPictures = bits.read(1) === 1;
  if (stillPictures) bits.read(5);
  const idc = stillPictures ? 0 : readOperatingPoints(bits);
  const widthBits = bits.read(4) + 1;
  const heightBits = bits.read(4) + 1;
  const width = bits.read(widthBits) + 1;
  const height = bits.read(heightBits) + 1;
  // operating_point_idc: bits 8 to 11 are the spatial layers.
  return bits.overrun ? undefined : { stillPictures, spatialLayers: idc >> 9 !== 0, width, height };
}

/** @returns operating_point_idc of all points together */
function readOperatingPoints(bits: BitReader): number {
  let decoderModel = false;
  let delayBits = 0;
  if (bits.read(1) === 1) {
    bits.read(32 + 32); // num_units_in_display_tick, time_scale
    if (bits.read(1) === 1) bits.skipUvlc();
    decoderModel = bits.read(1) === 1;
    if (decoderModel) {
      delayBits = bits.read(5) + 1;
      bits.read(32 + 5 + 5);
    }
  }
  const displayDelay = bits.read(1) === 1;
  const operatingPoints = bits.read(5) + 1;
  let idc = 0;
  for (let point = 0; point < operatingPoints && !bits.overrun; point += 1) {
    idc |= bits.read(12);
    if (bits.read(5) > 7) bits.read(1); // seq_tier exists above level 3.3
    if (decoderModel && bits.read(1) === 1) bits.read(2 * delayBits + 1);
    if (displayDelay && bits.read(1) === 1) bits.read(4);
  }
  return idc;
}

class BitReader {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  /** More was read than there is. */
  get overrun(): boolean {
    return this.#at > 8 * this.#data.length;
  }

  /** Zeros behind the end; exact up to 32 bits, more are only skipped. */
  read(count: number): number {
    let value = 0;
    for (let index = 0; index < count; index += 1, this.#at += 1) {
      value = value * 2 + (((this.#data[this.#at >> 3] ?? 0) >> (7 - (this.#at & 7))) & 1);
    }
    return value;
  }

  /** uvlc() (section 4.10.3) */
  skipUvlc(): void {
    let zeros = 0;
    while (zeros < 32 && this.read(1) === 0) zeros += 1;
    if (zeros < 32) this.read(zeros);
  }
}
