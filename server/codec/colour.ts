import {
  AVCOL_PRI_BT2020,
  AVCOL_PRI_BT709,
  AVCOL_PRI_SMPTE170M,
  AVCOL_PRI_UNSPECIFIED,
  AVCOL_RANGE_JPEG,
  AVCOL_RANGE_MPEG,
  AVCOL_SPC_BT2020_CL,
  AVCOL_SPC_BT2020_NCL,
  AVCOL_SPC_BT470BG,
  AVCOL_SPC_BT709,
  AVCOL_SPC_RGB,
  AVCOL_SPC_SMPTE170M,
  AVCOL_SPC_SMPTE240M,
  AVCOL_TRC_BT2020_10,
  AVCOL_TRC_BT709,
  AVCOL_TRC_SMPTE170M,
  AVCOL_TRC_UNSPECIFIED,
  AV_PIX_FMT_YUVJ420P,
  type AVColorPrimaries,
  type AVColorRange,
  type AVColorSpace,
  type AVColorTransferCharacteristic,
} from 'node-av/constants';
import type { Frame } from 'node-av/lib';
import type { Colour, ColourMatrix } from '../media/types.ts';

/**
 * What a stream without colour description means in WebRTC: BT.601, limited range. VP8 knows nothing else (RFC 6386
 * section 9.2: color_space 0), and Chromium 156 shows a WebRTC stream that says nothing so (measured: smpte170m, limited).
 * Results are sent in this colour for the same reason. H264 says it in its VUI as well, which Chromium reads.
 */
export const WEBRTC_COLOUR: Colour = { matrix: 'bt601', range: 'limited' };

export function sameColour(a: Colour, b: Colour): boolean {
  return a.matrix === b.matrix && a.range === b.range;
}

/** ITU-T H.273 table 4 to the three families that occur; unspecified and exotic ones read as `fallback`. */
function matrixOf(space: AVColorSpace, fallback: ColourMatrix): ColourMatrix {
  switch (space) {
    case AVCOL_SPC_BT709:
    case AVCOL_SPC_SMPTE240M: // within a level of BT.709
      return 'bt709';
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
      return 'bt2020';
    case AVCOL_SPC_SMPTE170M:
    case AVCOL_SPC_BT470BG: // the same matrix under PAL's name
      return 'bt601';
    default:
      return fallback;
  }
}

/** Colour of a decoded frame: what the stream says, `fallback` where it says nothing. */
export function colourOf(
  frame: Pick<Frame, 'format' | 'colorRange' | 'colorSpace'>,
  fallback: Colour = WEBRTC_COLOUR,
): Colour {
  const fullByFormat = frame.format === AV_PIX_FMT_YUVJ420P;
  const range = frame.colorRange;
  let known = fallback.range;
  if (range === AVCOL_RANGE_JPEG || fullByFormat) known = 'full';
  else if (range === AVCOL_RANGE_MPEG) known = 'limited';
  return { matrix: matrixOf(frame.colorSpace, fallback.matrix), range: known };
}

interface LibavColour {
  readonly space: AVColorSpace;
  readonly range: AVColorRange;
  readonly primaries: AVColorPrimaries;
  readonly transfer: AVColorTransferCharacteristic;
}

/** H.273 code points for a stream's headers (VUI) and for swscale. */
export function libavColour(colour: Colour): LibavColour {
  const range = colour.range === 'full' ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  switch (colour.matrix) {
    case 'bt601':
      return { space: AVCOL_SPC_SMPTE170M, range, primaries: AVCOL_PRI_SMPTE170M, transfer: AVCOL_TRC_SMPTE170M };
    case 'bt709':
      return { space: AVCOL_SPC_BT709, range, primaries: AVCOL_PRI_BT709, transfer: AVCOL_TRC_BT709 };
    case 'bt2020':
      return { space: AVCOL_SPC_BT2020_NCL, range, primaries: AVCOL_PRI_BT2020, transfer: AVCOL_TRC_BT2020_10 };
  }
}

/**
 * Writes the matrix and range swscale shall convert by. Primaries and transfer stay unspecified on both sides: swscale
 * then changes the matrix alone and never maps gamuts.
 */
export function setFrameColour(frame: Frame, colour: Colour): void {
  const { space, range } = libavColour(colour);
  frame.colorSpace = space;
  frame.colorRange = range;
  frame.colorPrimaries = AVCOL_PRI_UNSPECIFIED;
  frame.colorTrc = AVCOL_TRC_UNSPECIFIED;
}

/** The same for RGB, whose range is full wherever libav reads it. */
export function setFrameRgb(frame: Frame): void {
  frame.colorSpace = AVCOL_SPC_RGB;
  frame.colorRange = AVCOL_RANGE_JPEG;
  frame.colorPrimaries = AVCOL_PRI_UNSPECIFIED;
  frame.colorTrc = AVCOL_TRC_UNSPECIFIED;
}
