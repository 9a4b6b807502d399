/** H.264 parameter sets (ITU-T H.264 section 7.3.2) as far as their ids: which slice needs which PPS and SPS. */

export const NAL_IDR = 5;
export const NAL_SPS = 7;
export const NAL_PPS = 8;

/** Real ones take 10 to 100 bytes; the largest legal ones, with scaling lists and VUI, stay below this. */
const MAX_SET_BYTES = 1024;
/** Of all remembered sets together; a sender with more sets than fit is not remembered beyond it. */
const MAX_TOTAL_BYTES = 64 * 1024;
const MAX_SPS = 32;
const MAX_PPS = 256;
/** Header bytes that hold the ids, emulation prevention included. */
const PREFIX_BYTES = 24;

interface PictureSet {
  readonly unit: Uint8Array;
  readonly spsId: number;
}

/**
 * The parameter sets of one stream, remembered across access units: senders may send them once (RFC 6184 section 8.4).
 * Worst case: 64 KiB held, O(1) maps by id; a set larger than 1 KiB or beyond the total is counted and not remembered (it still
 * reaches the decoder in its own access unit).
 */
export class ParameterSets {
  readonly #sequence = new Map<number, Uint8Array>();
  readonly #picture = new Map<number, PictureSet>();
  #bytes = 0;
  #refused = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** Sets that were too large or too many to remember. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * @param unit an SPS or PPS; copied, for it is a view on a packet that it must outlive
   * @returns its id; undefined when it has none
   */
  remember(unit: Uint8Array): number | undefined {
    const type = (unit[0] as number) & 0x1f;
    const ids = type === NAL_SPS ? spsIds(unit) : ppsIds(unit);
    if (ids === undefined) return undefined;
    // A new set replaces the one of its id even if it cannot be remembered: the old one is no longer true.
    this.#forget(type, ids.id);
    if (unit.length > MAX_SET_BYTES || this.#bytes + unit.length > MAX_TOTAL_BYTES) {
      this.#refused += 1;
      return ids.id;
    }
    this.#bytes += unit.length;
    const copy = Uint8Array.from(unit);
    if (type === NAL_SPS) this.#sequence.set(ids.id, copy);
    else this.#picture.set(ids.id, { unit: copy, spsId: ids.spsId });
    return ids.id;
  }

  /**
   * What a decoder needs in front of slices that refer to these PPS: each PPS once, and before it the SPS it refers to.
   * @param have ids that the access unit brings itself
   */
  neededFor(
    ppsIdsOfSlices: Iterable<number>,
    have: { readonly sps: ReadonlySet<number>; readonly pps: ReadonlySet<number> },
  ): Uint8Array[] {
    const front: Uint8Array[] = [];
    const done = new Set<number>(have.sps);
    for (const id of ppsIdsOfSlices) {
      const picture = this.#picture.get(id);
      if (picture === undefined) continue;
      const sequence = this.#sequence.get(picture.spsId);
      if (sequence !== undefined && !done.has(picture.spsId)) {
        done.add(picture.spsId);
        front.push(sequence);
      }
      if (!have.pps.has(id)) front.push(picture.unit);
    }
    return front;
  }

  #forget(type: number, id: number): void {
    const before = type === NAL_SPS ? this.#sequence.get(id) : this.#picture.get(id)?.unit;
    if (before === undefined) return;
    this.#bytes -= before.length;
    if (type === NAL_SPS) this.#sequence.delete(id);
    else this.#picture.delete(id);
  }
}

/** seq_parameter_set_id follows profile_idc, constraint flags and level_idc (H.264 section 7.3.2.1.1). */
function spsIds(unit: Uint8Array): { readonly id: number; readonly spsId: number } | undefined {
  const id = new BitReader(unit, 4).ue();
  return id !== undefined && id < MAX_SPS ? { id, spsId: id } : undefined;
}

/** pic_parameter_set_id, seq_parameter_set_id (H.264 section 7.3.2.2). */
function ppsIds(unit: Uint8Array): { readonly id: number; readonly spsId: number } | undefined {
  const bits = new BitReader(unit, 1);
  const id = bits.ue();
  const spsId = bits.ue();
  return id !== undefined && id < MAX_PPS && spsId !== undefined && spsId < MAX_SPS ? { id, spsId } : undefined;
}

/** pic_parameter_set_id of a slice: first_mb_in_slice, slice_type, pic_parameter_set_id (H.264 section 7.3.3). */
export function slicePpsId(unit: Uint8Array): number | undefined {
  const bits = new BitReader(unit, 1);
  bits.ue();
  bits.ue();
  const id = bits.ue();
  return id !== undefined && id < MAX_PPS ? id : undefined;
}

/** slice_type modulo 5: 5 to 9 say that all slices of the picture are of that type (H.264 table 7-6). */
export function sliceType(unit: Uint8Array): number | undefined {
  const bits = new BitReader(unit, 1);
  bits.ue();
  const type = bits.ue();
  return type !== undefined && type < 10 ? type % 5 : undefined;
}

/** Reads the first bytes of a NAL unit, without emulation prevention (H.264 section 7.4.1.1). */
class BitReader {
  readonly #bytes: number[] = [];
  #at = 0;

  constructor(unit: Uint8Array, skipBytes: number) {
    let zeros = 0;
    const end = Math.min(unit.length, skipBytes + PREFIX_BYTES);
    for (let at = 1; at < end; at += 1) {
      const byte = unit[at] as number;
      if (zeros >= 2 && byte === 3) {
        zeros = 0;
        continue;
      }
      zeros = byte === 0 ? zeros + 1 : 0;
      this.#bytes.push(byte);
    }
    this.#at = 8 * (skipBytes - 1);
  }

  /** Exp-Golomb ue(v) (H.264 section 9.1), up to 2^17 - 2. */
  ue(): number | undefined {
    let zeros = 0;
    for (let bit = this.#bit(); bit !== 1; bit = this.#bit()) {
      if (bit === undefined || zeros === 16) return undefined;
      zeros += 1;
    }
    let value = 1;
    for (let index = 0; index < zeros; index += 1) {
      const bit = this.#bit();
      if (bit === undefined) return undefined;
      value = value * 2 + bit;
    }
    return value - 1;
  }

  #bit(): number | undefined {
    const byte = this.#bytes[this.#at >> 3];
    if (byte === undefined) return undefined;
    const bit = (byte >> (7 - (this.#at & 7))) & 1;
    this.#at += 1;
    return bit;
  }
}
