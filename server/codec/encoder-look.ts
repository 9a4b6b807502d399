import {
  AV_CODEC_FLAG_INTERLACED_DCT,
  AV_CODEC_FLAG_INTERLACED_ME,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUV420P10LE,
  AV_PKT_DATA_CONTENT_LIGHT_LEVEL,
  AV_PKT_DATA_DISPLAYMATRIX,
  AV_PKT_DATA_MASTERING_DISPLAY_METADATA,
  AV_PKT_DATA_SPHERICAL,
  AV_PKT_DATA_STEREO3D,
} from 'node-av/constants';
import { Rational, type CodecContext, type CodecParameters } from 'node-av/lib';
import { AppError } from '../errors.ts';
import type { FileCodec } from './containers.ts';
import type { PictureLook } from './file-pictures.ts';

/** How the pictures look, said to an encoder and to the container, so that the result's headers say what its samples are. */

/**
 * To be called before the encoder is opened.
 * @throws AppError config.invalid for fields in a codec that has none
 */
export function applyLook(context: CodecContext, codec: FileCodec, look: PictureLook): void {
  const { space, range, primaries, transfer, chroma } = look.tags;
  const { num, den } = look.sampleAspectRatio;
  context.pixelFormat = look.bitDepth === 10 ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P;
  context.sampleAspectRatio = new Rational(num, den);
  context.colorSpace = space;
  context.colorRange = range;
  context.colorPrimaries = primaries;
  context.colorTrc = transfer;
  if (chroma !== undefined) context.chromaLocation = chroma;
  if (look.fields === undefined) return;
  if (codec !== 'h264') {
    throw new AppError('config.invalid', `--keep-interlaced needs H264; ${codec} has no interlaced pictures.`, {
      remedy: 'Use --codec h264, or leave --keep-interlaced out.',
    });
  }
  context.setFlags(AV_CODEC_FLAG_INTERLACED_DCT, AV_CODEC_FLAG_INTERLACED_ME);
  // Coded in one picture, shown in this order.
  context.setOption('field_order', look.fields === 'top' ? 'tt' : 'bb');
}

/** HDR10's static metadata for the codec's own headers, as `name=value` of x264 and x265; others have it in the container only. */
export function hdrParameters(codec: FileCodec, { bitDepth, tags }: PictureLook): readonly string[] {
  if (bitDepth === 8 || codec === 'av1') return [];
  const names = codec === 'h264' ? ['mastering-display', 'cll'] : ['master-display', 'max-cll'];
  const of = (wanted: number): Buffer | undefined => tags.hdr.find(({ type }) => type === wanted)?.data;
  const mastering = of(AV_PKT_DATA_MASTERING_DISPLAY_METADATA);
  const light = of(AV_PKT_DATA_CONTENT_LIGHT_LEVEL);
  return [
    ...(mastering === undefined ? [] : [`${names[0]}=${masteringParameter(mastering)}`]),
    ...(light === undefined ? [] : [`${names[1]}=${light.readUInt32LE(0)},${light.readUInt32LE(4)}`]),
  ];
}

/** Of pictures that surround the viewer, or of one for each eye; sizes in them are shares of the picture, but for a cube's padding. */
const IMMERSIVE = [AV_PKT_DATA_SPHERICAL, AV_PKT_DATA_STEREO3D] as const;

/**
 * Side data of the stream in the container: HDR10's static metadata, the rotation, 360 degrees and stereo.
 * @param source parameters of the source's stream. @param scale width of the result / width of the source
 */
export function describeStream(
  parameters: CodecParameters,
  source: CodecParameters,
  look: PictureLook,
  scale: number,
): void {
  if (look.bitDepth > 8) {
    for (const { type, data } of look.tags.hdr) parameters.addCodedSideData(type, data);
  }
  for (const type of IMMERSIVE) {
    const data = source.getCodedSideData(type);
    if (data !== null) parameters.addCodedSideData(type, data);
  }
  const matrix = source.getCodedSideData(AV_PKT_DATA_DISPLAYMATRIX);
  if (matrix !== null) parameters.addCodedSideData(AV_PKT_DATA_DISPLAYMATRIX, scaledMatrix(matrix, scale));
}

/**
 * A display matrix for a picture that is `scale` times as large: a rotation about the origin is followed by a translation back
 * into view, in pixels (ISO/IEC 14496-12 section 6.2.2: the third row, x and y in 16.16).
 */
export function scaledMatrix(matrix: Buffer, scale: number): Buffer {
  const scaled = Buffer.from(matrix);
  for (const at of [6 * 4, 7 * 4]) {
    const translation = Math.round(scaled.readInt32LE(at) * scale);
    scaled.writeInt32LE(Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, translation)), at);
  }
  return scaled;
}

/** In 1/50000 and 1/10000 cd/m2. AVMasteringDisplayMetadata: AVRational display_primaries[3][2] (red, green, blue), white_point[2], min and max luminance. */
function masteringParameter(data: Buffer): string {
  const value = (index: number, unit: number): number =>
    Math.round((data.readInt32LE(index * 8) / Math.max(1, data.readInt32LE(index * 8 + 4))) * unit);
  const point = (index: number): string => `(${value(index, 50_000)},${value(index + 1, 50_000)})`;
  return `G${point(2)}B${point(4)}R${point(0)}WP${point(6)}L(${value(9, 10_000)},${value(8, 10_000)})`;
}
