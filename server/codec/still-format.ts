import path from 'node:path';
import {
  AV_PIX_FMT_BGR24,
  AV_PIX_FMT_RGB24,
  AV_PIX_FMT_RGB48BE,
  AV_PIX_FMT_RGB48LE,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUVJ420P,
  type AVPixelFormat,
} from 'node-av/constants';
import type { Colour } from '../media/types.ts';

/** A format of single pictures. */
export interface StillFormat {
  readonly encoder: string;
  readonly pixels: AVPixelFormat;
  /** For pictures of 10 bits, where the format takes more than 8. */
  readonly deepPixels?: AVPixelFormat;
  /** Of YUV formats, whose files do not say it: what their readers assume. RGB has none. */
  readonly colour: Colour | undefined;
  readonly options: Readonly<Record<string, string>>;
}

/** ITU-T T.871 (JFIF). */
const JFIF: Colour = { matrix: 'bt601', range: 'full' };

const JPEG: StillFormat = {
  encoder: 'mjpeg',
  pixels: AV_PIX_FMT_YUVJ420P,
  colour: JFIF,
  // The best that the encoder does without growing much: quantiser 2 of 31.
  options: { qmin: '2', qmax: '2', b: '100000000' },
};
const TIFF: StillFormat = {
  encoder: 'tiff',
  pixels: AV_PIX_FMT_RGB24,
  deepPixels: AV_PIX_FMT_RGB48LE,
  colour: undefined,
  options: {},
};

const BY_ENDING: Readonly<Record<string, StillFormat>> = {
  '.png': {
    encoder: 'png',
    pixels: AV_PIX_FMT_RGB24,
    deepPixels: AV_PIX_FMT_RGB48BE,
    colour: undefined,
    options: {},
  },
  '.jpg': JPEG,
  '.jpeg': JPEG,
  '.webp': {
    encoder: 'libwebp',
    pixels: AV_PIX_FMT_YUV420P,
    colour: { matrix: 'bt601', range: 'limited' },
    options: { quality: '95' },
  },
  '.bmp': { encoder: 'bmp', pixels: AV_PIX_FMT_BGR24, colour: undefined, options: {} },
  '.tif': TIFF,
  '.tiff': TIFF,
};

export const STILL_ENDINGS: readonly string[] = Object.keys(BY_ENDING);

/** By the ending of a name, whatever its case; undefined for endings that name no format of pictures. */
export function stillFormatOf(name: string): StillFormat | undefined {
  return BY_ENDING[path.extname(name).toLowerCase()];
}
