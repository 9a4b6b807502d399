import { closeSync, openSync, readSync } from 'node:fs';

/**
 * Which way up a picture's file is shown: cameras store what the sensor saw, and a tag (Exif 2.32 section 4.6.4, Orientation) says how
 * to turn it. libav decodes the samples as they are stored.
 */

/** 1 is upright, 2 to 4 are mirrored or upside down, 5 to 8 lie on a side. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** libavfilter's filters that make each upright. */
const FILTERS: Readonly<Record<Orientation, string | undefined>> = {
  1: undefined,
  2: 'hflip',
  3: 'hflip,vflip',
  4: 'vflip',
  5: 'transpose=cclock_flip',
  6: 'transpose=clock',
  7: 'transpose=clock_flip',
  8: 'transpose=cclock',
};
const ORIENTATION_TAG = 0x112;
const TIFF_SHORT = 3;
/** Segments or chunks looked at; a file has some ten in front of its picture. */
const MAX_PARTS = 1000;
/** Entries of a TIFF directory. */
const MAX_ENTRIES = 1000;

type Read = (at: number, count: number) => Buffer;

export function uprightFilter(orientation: Orientation): string | undefined {
  return FILTERS[orientation];
}

/** Width and height change places. */
export function liesOnSide(orientation: Orientation): boolean {
  return orientation >= 5;
}

/** @param file a picture's file on the disk; 1 for all that do not say, and for what cannot be read */
export function stillOrientation(file: string): Orientation {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch {
    // libav says why it does not open.
    return 1;
  }
  try {
    return orientationOf((at, count) => {
      const data = Buffer.alloc(count);
      return data.subarray(0, readSync(descriptor, data, 0, count, at));
    });
  } catch {
    // A part that ends too early: the decoder judges the file.
    return 1;
  } finally {
    closeSync(descriptor);
  }
}

function orientationOf(read: Read): Orientation {
  const begin = read(0, 12).toString('latin1');
  if (begin.startsWith('\xff\xd8\xff')) return inJpeg(read);
  if (begin.startsWith('\x89PNG')) return inPng(read);
  if (begin.startsWith('RIFF') && begin.endsWith('WEBP')) return inWebp(read);
  if (begin.startsWith('II*\0') || begin.startsWith('MM\0*')) return inTiff(read, 0);
  return 1;
}

/** Segments up to the start of the scan; Exif is an APP1 segment (ITU-T T.81 section B.1.1.4). */
function inJpeg(read: Read): Orientation {
  let at = 2;
  for (let part = 0; part < MAX_PARTS; part += 1) {
    const head = read(at, 10);
    const marker = head.readUInt8(1);
    if (head.readUInt8(0) !== 0xff || marker === 0xda || marker === 0xd9) return 1;
    // A fill byte in front of the marker.
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    if (marker === 0xe1 && head.toString('latin1', 4, 10) === 'Exif\0\0') return inTiff(read, at + 10);
    at += 2 + head.readUInt16BE(2);
  }
  return 1;
}

/** The chunk eXIf, anywhere (PNG, third edition, section 11.3.4.5). */
function inPng(read: Read): Orientation {
  let at = 8;
  for (let part = 0; part < MAX_PARTS; part += 1) {
    const head = read(at, 8);
    const type = head.toString('latin1', 4, 8);
    if (type === 'eXIf') return inTiff(read, at + 8);
    if (type === 'IEND') return 1;
    at += 12 + head.readUInt32BE(0);
  }
  return 1;
}

/** The chunk EXIF, behind the picture (RFC 9649 section 2.7); some writers put the segment's name in front. */
function inWebp(read: Read): Orientation {
  let at = 12;
  for (let part = 0; part < MAX_PARTS; part += 1) {
    const head = read(at, 14);
    if (head.toString('latin1', 0, 4) === 'EXIF')
      return inTiff(read, at + 8 + (head.toString('latin1', 8, 14) === 'Exif\0\0' ? 6 : 0));
    const size = head.readUInt32LE(4);
    at += 8 + size + (size % 2);
  }
  return 1;
}

/** The first directory of a TIFF structure at `start` (TIFF 6.0 section 2). */
function inTiff(read: Read, start: number): Orientation {
  const head = read(start, 8);
  const little = head.toString('latin1', 0, 2) === 'II';
  const short = (data: Buffer, at: number): number => (little ? data.readUInt16LE(at) : data.readUInt16BE(at));
  const directory = start + (little ? head.readUInt32LE(4) : head.readUInt32BE(4));
  const entries = Math.min(MAX_ENTRIES, short(read(directory, 2), 0));
  const data = read(directory + 2, 12 * entries);
  for (let at = 0; at < 12 * entries; at += 12) {
    if (short(data, at) !== ORIENTATION_TAG || short(data, at + 2) !== TIFF_SHORT) continue;
    const value = short(data, at + 8);
    return isOrientation(value) ? value : 1;
  }
  return 1;
}

function isOrientation(value: number): value is Orientation {
  return value >= 1 && value <= 8;
}
