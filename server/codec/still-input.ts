import { closeSync, openSync, readSync } from 'node:fs';
import { InputFormat } from 'node-av/lib';
import { stillFormatOf } from './still-format.ts';

/** First bytes of a picture, and the demuxer that reads one such file and opens no other. */
const BEGINNINGS: readonly (readonly [begin: string, demuxer: string])[] = [
  ['\x89PNG', 'png_pipe'],
  ['\xff\xd8\xff', 'jpeg_pipe'],
  ['RIFF', 'webp_pipe'],
  ['BM', 'bmp_pipe'],
  ['II*\0', 'tiff_pipe'],
  ['MM\0*', 'tiff_pipe'],
];

/**
 * The demuxer of a picture's file. libav's guess goes by the name here, to a demuxer of sequences (`image2`) that opens other files and
 * is not allowed. @returns null for all other files: libav finds theirs
 */
export function stillDemuxer(file: string): InputFormat | null {
  if (stillFormatOf(file) === undefined) return null;
  const begin = firstBytes(file, 4).toString('latin1');
  const [, name] = BEGINNINGS.find(([bytes]) => begin.startsWith(bytes)) ?? [];
  return name === undefined ? null : InputFormat.findInputFormat(name);
}

function firstBytes(file: string, count: number): Buffer {
  const data = Buffer.alloc(count);
  try {
    const descriptor = openSync(file, 'r');
    try {
      return data.subarray(0, readSync(descriptor, data, 0, count, 0));
    } finally {
      closeSync(descriptor);
    }
  } catch {
    // libav says why it does not open.
    return data.subarray(0, 0);
  }
}
