import { AppError } from '../errors.ts';
import { OBU, parseObuHeader, parseSequenceHeader, readLeb128 } from '../media/av1-obu.ts';
import type { SourceCodec } from '../media/types.ts';

/** Shorter sides than this and no encoder can carry the result. */
const MIN_SIDE = 16;
/** Longer sides than this and a result four times as large is beyond what VP8 can say (14 bits) and x264 takes. */
const MAX_SIDE = 4096;
/** The product of the sides does not bound the work: scalers and encoders round each side up, and a line costs a row of memory. */
const MAX_ASPECT = 16;

/** Bounds each side, the aspect and the product. @throws AppError media.unsupported, which ends the publisher's session and says why */
export function checkPictureSize(width: number, height: number, maxPixels: number): void {
  const [short, long] = width < height ? [width, height] : [height, width];
  const options = { context: { width, height, maxPixels } };
  if (width * height > maxPixels) {
    const what = `The video is ${width}x${height}; at most ${maxPixels} pixels are allowed.`;
    throw new AppError('media.unsupported', what, options);
  }
  if (short >= MIN_SIDE && long <= MAX_SIDE && long <= MAX_ASPECT * short) return;
  throw new AppError(
    'media.unsupported',
    `The video is ${width}x${height}; at least ${MIN_SIDE}x${MIN_SIDE} is needed, and a side may have at most ${MAX_SIDE} ` +
      `pixels and be ${MAX_ASPECT} times the other.`,
    { ...options, remedy: short < MIN_SIDE ? 'Publish a larger picture.' : 'Publish a picture of a common shape.' },
  );
}

/**
 * The size a keyframe announces, read before a decoder sees it: libav refuses what is too large without saying what it
 * was. Only what is cheap to read: VP8 (RFC 6386 section 9.1), VP9 profile 0 (bitstream specification 6.2) and AV1's
 * sequence header; H264's decoder reports it by itself.
 */
export function keyframeSize(codec: SourceCodec, data: Uint8Array): { width: number; height: number } | undefined {
  switch (codec) {
    case 'VP8':
      return vp8Size(data);
    case 'VP9':
      return vp9Size(data);
    case 'AV1':
      return av1Size(data);
    case 'H264':
      return undefined;
  }
}

/**
 * Of the sequence header, which a keyframe begins with, behind its temporal delimiter (media/av1.ts). With spatial layers it has the size
 * of the largest, which does not come here.
 */
function av1Size(data: Uint8Array): { width: number; height: number } | undefined {
  for (let at = 0; at < data.length;) {
    const header = parseObuHeader(data.subarray(at, at + 2));
    const size = header === undefined ? undefined : readLeb128(data, at + header.bytes);
    if (header === undefined || size === undefined) return undefined;
    const begin = at + header.bytes + size.bytes;
    if (header.type === OBU.sequenceHeader) {
      const sequence = parseSequenceHeader(data.subarray(begin, begin + size.value));
      return sequence?.spatialLayers === false ? sequence : undefined;
    }
    at = begin + size.value;
  }
  return undefined;
}

function vp8Size(data: Uint8Array): { width: number; height: number } | undefined {
  const isKeyframe = data.length >= 10 && ((data[0] ?? 1) & 1) === 0;
  if (!isKeyframe || data[3] !== 0x9d || data[4] !== 0x01 || data[5] !== 0x2a) return undefined;
  // 14 bits each; the two above them ask the player to scale.
  const side = (at: number): number => ((data[at] ?? 0) | ((data[at + 1] ?? 0) << 8)) & 0x3fff;
  return { width: side(6), height: side(8) };
}

function vp9Size(data: Uint8Array): { width: number; height: number } | undefined {
  let bit = 0;
  const read = (bits: number): number => {
    let value = 0;
    for (let count = 0; count < bits; count += 1, bit += 1)
      value = value * 2 + (((data[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1);
    return value;
  };
  const [marker, profile, showExisting, notKeyframe] = [read(2), read(2), read(1), read(1)];
  if (marker !== 2 || profile !== 0 || showExisting !== 0 || notKeyframe !== 0) return undefined;
  read(2); // show_frame, error_resilient_mode
  if (read(24) !== 0x49_83_42) return undefined;
  const colourSpace = read(3);
  if (colourSpace === 7) return undefined; // RGB is not allowed in profile 0
  read(1); // colour_range
  const width = read(16) + 1;
  return { width, height: read(16) + 1 };
}
