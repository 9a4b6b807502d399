import type { Colour, ColourMatrix } from './types.ts';

/**
 * libwebrtc's RTP header extension http://www.webrtc.org/experiments/rtp-hdrext/color-space: on the last packet of a
 * keyframe, and of the frame from which another colour holds.
 *
 *     primaries (8 bits), transfer (8), matrix (8): code points of ITU-T H.273
 *     unused (2), range (2), chroma siting horizontal (2), vertical (2)
 *     with HDR only: 24 bytes of metadata
 */
const PLAIN_BYTES = 4;
const HDR_BYTES = 28;

/** ITU-T H.273 table 4. 2 is "unspecified"; RGB, YCgCo and the rarer ones do not occur in 8-bit 4:2:0 video. */
const MATRICES: ReadonlyMap<number, ColourMatrix> = new Map([
  [1, 'bt709'],
  [4, 'bt601'], // FCC: within a level of BT.601
  [5, 'bt601'], // BT.470 B/G: the same matrix under PAL's name
  [6, 'bt601'],
  [7, 'bt709'], // SMPTE 240M: within a level of BT.709
  [9, 'bt2020'],
  [10, 'bt2020'],
]);

/** libwebrtc's RangeID. 0 is invalid and 3 "as matrix and transfer define", which for all of the above is limited. */
const RANGES: ReadonlyMap<number, Colour['range']> = new Map([
  [1, 'limited'],
  [2, 'full'],
]);

/**
 * Matrix and range; primaries and transfer change nothing in a conversion between matrices, and the siting is ignored.
 * One of the two that is left open reads as WebRTC video without any description does: BT.601, limited.
 * @returns undefined when both are left open or the value is malformed: then the bitstream's headers hold; never throws
 */
export function parseColourSpace(value: Uint8Array): Colour | undefined {
  if (value.length !== PLAIN_BYTES && value.length !== HDR_BYTES) return undefined;
  const matrix = MATRICES.get(value[2] as number);
  const range = RANGES.get(((value[3] as number) >> 4) & 0x03);
  if (matrix === undefined && range === undefined) return undefined;
  return { matrix: matrix ?? 'bt601', range: range ?? 'limited' };
}
