import {
  AVCOL_PRI_BT2020,
  AVCOL_PRI_BT470BG,
  AVCOL_PRI_BT709,
  AVCOL_PRI_SMPTE170M,
  AVCOL_PRI_SMPTE431,
  AVCOL_PRI_SMPTE432,
  AVCOL_PRI_UNSPECIFIED,
  AVCOL_SPC_BT2020_CL,
  AVCOL_SPC_BT2020_NCL,
  AVCOL_SPC_BT470BG,
  AVCOL_SPC_BT709,
  AVCOL_SPC_SMPTE170M,
  AVCOL_SPC_SMPTE240M,
  AVCOL_TRC_ARIB_STD_B67,
  AVCOL_TRC_SMPTE2084,
  AVCOL_TRC_UNSPECIFIED,
  AV_FRAME_DATA_CONTENT_LIGHT_LEVEL,
  AV_FRAME_DATA_MASTERING_DISPLAY_METADATA,
  AV_PKT_DATA_CONTENT_LIGHT_LEVEL,
  AV_PKT_DATA_MASTERING_DISPLAY_METADATA,
  type AVChromaLocation,
  type AVColorPrimaries,
  type AVColorRange,
  type AVColorSpace,
  type AVColorTransferCharacteristic,
  type AVPacketSideDataType,
  type AVPixelFormat,
} from 'node-av/constants';
import type { CodecParameters, Frame } from 'node-av/lib';
import type { Colour, ColourMatrix } from '../media/types.ts';
import { colourOf, libavColour } from './colour.ts';

/** What a file says of its pictures' colour: the code points of ITU-T H.273, and the static metadata of HDR10. */
export interface ColourTags {
  readonly space: AVColorSpace;
  readonly range: AVColorRange;
  readonly primaries: AVColorPrimaries;
  readonly transfer: AVColorTransferCharacteristic;
  /** Where chroma samples lie; absent: unspecified. */
  readonly chroma?: AVChromaLocation;
  /** SMPTE ST 2086 and CTA-861.3 MaxCLL, MaxFALL: libav's structures, as side data of a stream. */
  readonly hdr: readonly { readonly type: AVPacketSideDataType; readonly data: Buffer }[];
}

/** Transfer functions of HDR: SMPTE ST 2084 (HDR10) and ARIB STD-B67. */
export function hdrName(transfer: AVColorTransferCharacteristic): 'PQ' | 'HLG' | undefined {
  if (transfer === AVCOL_TRC_SMPTE2084) return 'PQ';
  return transfer === AVCOL_TRC_ARIB_STD_B67 ? 'HLG' : undefined;
}

/** Matrix of files that do not say: by their primaries, else BT.709 from 720 lines on, as players assume. Limited range. */
export function fileColour(height: number, primaries: AVColorPrimaries = AVCOL_PRI_UNSPECIFIED): Colour {
  return { matrix: matrixBy(primaries) ?? (height >= 720 ? 'bt709' : 'bt601'), range: 'limited' };
}

function matrixBy(primaries: AVColorPrimaries): ColourMatrix | undefined {
  switch (primaries) {
    case AVCOL_PRI_BT709:
    case AVCOL_PRI_SMPTE431:
    case AVCOL_PRI_SMPTE432:
      return 'bt709';
    case AVCOL_PRI_BT2020:
      return 'bt2020';
    case AVCOL_PRI_BT470BG:
    case AVCOL_PRI_SMPTE170M:
      return 'bt601';
    default:
      return undefined;
  }
}

/** Matrices whose samples pass through unchanged, so that their own name stays true. */
const KEPT_MATRICES: readonly AVColorSpace[] = [
  ...[AVCOL_SPC_BT709, AVCOL_SPC_SMPTE240M, AVCOL_SPC_SMPTE170M, AVCOL_SPC_BT470BG],
  ...[AVCOL_SPC_BT2020_NCL, AVCOL_SPC_BT2020_CL],
];

/** All that `colour` says, with what it leaves open as its family has it. */
export function tagsOf(colour: Colour): ColourTags {
  return { ...libavColour(colour), hdr: [] };
}

/** @param colour what the result's samples are: of the frame, or of what an RGB frame became */
export function frameTags(frame: Frame, colour: Colour, parameters: CodecParameters): ColourTags {
  const family = libavColour(colour);
  const { colorSpace, colorPrimaries, colorTrc, chromaLocation } = frame;
  return {
    space: KEPT_MATRICES.includes(colorSpace) ? colorSpace : family.space,
    range: family.range,
    primaries: colorPrimaries === AVCOL_PRI_UNSPECIFIED ? family.primaries : colorPrimaries,
    transfer: colorTrc === AVCOL_TRC_UNSPECIFIED ? family.transfer : colorTrc,
    chroma: chromaLocation,
    hdr: hdrData(frame, parameters),
  };
}

/** Before a picture was decoded: what the container and the codec's headers say. */
export function streamTags(parameters: CodecParameters): ColourTags {
  const { colorSpace, colorRange, colorPrimaries, colorTrc, height, format } = parameters;
  const said = { colorSpace, colorRange, format: format as AVPixelFormat };
  const family = tagsOf(colourOf(said, fileColour(height, colorPrimaries)));
  return {
    ...family,
    primaries: colorPrimaries === AVCOL_PRI_UNSPECIFIED ? family.primaries : colorPrimaries,
    transfer: colorTrc === AVCOL_TRC_UNSPECIFIED ? family.transfer : colorTrc,
  };
}

function hdrData(frame: Frame, parameters: CodecParameters): ColourTags['hdr'] {
  const kinds = [
    [AV_FRAME_DATA_MASTERING_DISPLAY_METADATA, AV_PKT_DATA_MASTERING_DISPLAY_METADATA],
    [AV_FRAME_DATA_CONTENT_LIGHT_LEVEL, AV_PKT_DATA_CONTENT_LIGHT_LEVEL],
  ] as const;
  return kinds.flatMap(([ofFrame, type]) => {
    const data = frame.getSideData(ofFrame) ?? parameters.getCodedSideData(type);
    return data === null ? [] : [{ type, data: Buffer.from(data) }];
  });
}
