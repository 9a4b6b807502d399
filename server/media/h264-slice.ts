import { NAL_IDR, NAL_SPS, sliceType } from './h264-parameter-sets.ts';

const NAL_SLICE = 1;
const B = 1;
/** Of a slice: enough for its type, emulation prevention included. */
const SLICE_PREFIX = 32;

/** NAL units of an Annex B access unit up to its first slice, of which only the beginning is given. Linear in what lies before it. */
function* unitsToFirstSlice(data: Uint8Array): Generator<Uint8Array> {
  let begin = -1;
  for (let at = 0; at + 3 < data.length; at += 1) {
    if (data[at] !== 0 || data[at + 1] !== 0 || data[at + 2] !== 1) continue;
    if (begin >= 0) yield data.subarray(begin, at);
    begin = at + 3;
    const type = (data[begin] as number) & 0x1f;
    if (type === NAL_SLICE || type === NAL_IDR) {
      yield data.subarray(begin, begin + SLICE_PREFIX);
      return;
    }
    at += 2;
  }
}

/** A picture of H264 that may refer to pictures shown after it: its stream is not in presentation order. */
export function isBPicture(data: Uint8Array): boolean {
  for (const unit of unitsToFirstSlice(data)) {
    const type = (unit[0] as number) & 0x1f;
    if (type === NAL_SLICE || type === NAL_IDR) return sliceType(unit) === B;
  }
  return false;
}

/** The SPS in front of an access unit's slices, perhaps with zero bytes of the next start code; undefined: it brings none. */
export function spsOf(data: Uint8Array): Uint8Array | undefined {
  for (const unit of unitsToFirstSlice(data)) if (((unit[0] as number) & 0x1f) === NAL_SPS) return unit;
  return undefined;
}
