import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { InputFormat } from 'node-av/lib';
import { stillFormatOf } from './still-format.ts';

/** Enough for the chunks of a PNG in front of its picture. */
const HEAD_BYTES = 64 * 2 ** 10;
const START_OF_SCAN = 0xda;
const [GIF_IMAGE, GIF_EXTENSION, GIF_TRAILER] = [0x2c, 0x21, 0x3b];
const END_OF_IMAGE = Buffer.of(0xff, 0xd9);
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
 * The demuxer of a picture's file, also of one whose picture moves. libav's guess goes by the name here, to a demuxer of sequences (`image2`) that opens other files and
 * is not allowed. @returns null for all other files: libav finds theirs
 */
export function stillDemuxer(file: string): InputFormat | null {
  if (stillFormatOf(file) === undefined) return null;
  const head = firstBytes(file, HEAD_BYTES);
  const begin = head.toString('latin1', 0, 4);
  const [, still] = BEGINNINGS.find(([bytes]) => begin.startsWith(bytes)) ?? [];
  const name = isAnimatedPng(head) ? 'apng' : isAnimatedWebp(head) ? 'webp_anim' : still;
  return name === undefined ? null : InputFormat.findInputFormat(name);
}

/**
 * Whether a JPEG ends within its picture, whose missing part a decoder fills with grey; of other pictures it says so itself. In the
 * picture's data the end marker cannot occur (ITU-T T.81 section B.1.1.5), in front of it, in a preview, it does.
 */
export function isCutJpeg(file: string): boolean {
  if (firstBytes(file, 3).toString('latin1') !== '\xff\xd8\xff') return false;
  const data = readFileSync(file);
  let at = 2;
  for (; at + 4 <= data.length && data[at] === 0xff && data[at + 1] !== START_OF_SCAN;) {
    // A fill byte in front of the marker, or a segment with its length.
    at += data[at + 1] === 0xff ? 1 : 2 + data.readUInt16BE(at + 2);
  }
  return data.indexOf(END_OF_IMAGE, at) < 0;
}

/**
 * Whether a GIF ends within a frame, whose missing part a decoder leaves as it was. One without a trailer is whole: some writers forget
 * it (GIF89a sections 15 to 27: blocks, each with sub-blocks that end with an empty one).
 */
export function isCutGif(file: string): boolean {
  if (!/^GIF8[79]a$/.test(firstBytes(file, 6).toString('latin1'))) return false;
  const data = readFileSync(file);
  const tableBytes = (flags: number): number => ((flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1));
  let at = 13 + tableBytes(data[10] ?? 0);
  while (at < data.length && data[at] !== GIF_TRAILER) {
    const isExtension = data[at] === GIF_EXTENSION;
    if (!isExtension && data[at] !== GIF_IMAGE) return false; // Something else behind the last block.
    at += isExtension ? 2 : 11 + tableBytes(data[at + 9] ?? 0);
    for (let length = data[at]; length !== 0; length = data[at]) {
      if (length === undefined) return true;
      at += 1 + length;
    }
    at += 1;
  }
  return at > data.length;
}

/** The chunk acTL stands in front of the first IDAT; other chunks there are short, apart from a colour profile. */
function isAnimatedPng(head: Buffer): boolean {
  if (!head.toString('latin1', 0, 4).startsWith('\x89PNG')) return false;
  for (let at = 8; at + 12 <= head.length; at += 12 + head.readUInt32BE(at)) {
    const type = head.toString('latin1', at + 4, at + 8);
    // Its first field is the number of frames (PNG, third edition, section 11.3.5.1).
    if (type === 'acTL') return head.readUInt32BE(at + 8) > 1;
    if (type === 'IDAT') return false;
  }
  return false;
}

/** The chunk VP8X comes first; its second bit is the animation's (RFC 9649 section 2.7). */
function isAnimatedWebp(head: Buffer): boolean {
  const begin = head.toString('latin1', 0, 16);
  return begin.startsWith('RIFF') && begin.endsWith('WEBPVP8X') && ((head[20] ?? 0) & 2) !== 0;
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
