import {
  AV_FRAME_DATA_A53_CC,
  AV_FRAME_DATA_DYNAMIC_HDR_PLUS,
  AV_PKT_DATA_DOVI_CONF,
  AV_PKT_DATA_FRAME_CROPPING,
} from 'node-av/constants';
import type { CodecParameters, Frame } from 'node-av/lib';

/** What a file says of its pictures beside their samples: applied, or named where it is lost. */

/** Pixels to be left out at each side, even numbers. */
export interface Cropping {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/**
 * The container's own (Matroska's PixelCrop, MP4's clean aperture); a codec's is its decoder's work.
 * @returns undefined where there is none, or nothing would be left
 */
export function croppingOf(parameters: CodecParameters): Cropping | undefined {
  // AVFrameCropping: uint32 top, bottom, left, right.
  const data = parameters.getCodedSideData(AV_PKT_DATA_FRAME_CROPPING);
  if (data === null || data.length < 16) return undefined;
  // Towards the middle: half a chroma sample cannot be left out.
  const [top, bottom, left, right] = [0, 4, 8, 12].map((at) => 2 * Math.ceil(data.readUInt32LE(at) / 2)) as [
    number,
    number,
    number,
    number,
  ];
  const isWhole = top + bottom + left + right === 0;
  const isNothing = left + right >= parameters.width || top + bottom >= parameters.height;
  return isWhole || isNothing ? undefined : { left, top, right, bottom };
}

/** For libavfilter, on frames of a size. */
export function cropFilter({ left, top, right, bottom }: Cropping, { width, height }: Frame): string {
  return `crop=${width - left - right}:${height - top - bottom}:${left}:${top}`;
}

/** Dolby Vision is a correction to be applied to the pictures, which FFmpeg does not do. @returns a sentence for the user */
export function dolbyVisionNotice(file: string, parameters: CodecParameters): string | undefined {
  // AVDOVIDecoderConfigurationRecord: version, version, profile, level, RPU, enhancement layer, base layer, compatibility; a byte each.
  const data = parameters.getCodedSideData(AV_PKT_DATA_DOVI_CONF);
  if (data === null || data.length < 8) return undefined;
  const [profile = 0, compatibility = 0] = [data[2], data[7]];
  const what = `${file} is Dolby Vision, profile ${profile}`;
  return compatibility === 0
    ? `${what}: its pictures have colours of their own, which only Dolby's decoders turn right; those of the result are wrong.`
    : `${what}: its pictures were upscaled without Dolby's data, as players without Dolby Vision show them.`;
}

const IN_FRAMES = [
  [AV_FRAME_DATA_A53_CC, 'closed captions (CEA-608, CEA-708) within its pictures'],
  [AV_FRAME_DATA_DYNAMIC_HDR_PLUS, "HDR10+'s data for each picture"],
] as const;

/** Looks at each frame for what no encoder here writes again; says it of the first one. */
export class LostWithFrames {
  readonly #file: string;
  readonly #notices: string[];
  readonly #missing = new Set(IN_FRAMES);

  constructor(file: string, notices: string[]) {
    this.#file = file;
    this.#notices = notices;
  }

  look(frame: Frame): void {
    for (const entry of this.#missing) {
      const [type, name] = entry;
      if (frame.getSideData(type) === null) continue;
      this.#missing.delete(entry);
      this.#notices.push(`${this.#file} has ${name}: left out.`);
    }
  }
}
