import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/**
 * Counts the chapters of a file. node-av gives no access to libav's, so that they can be neither copied nor seen; this says at least
 * how many are lost. Matroska (RFC 9559, 5.1.7) and MP4/QuickTime (a `chap` reference to a track of titles, or Nero's `chpl`).
 */

/** A stranger's file may name any sizes: no more elements are looked at, and no deeper ones. */
const MAX_ELEMENTS = 20_000;
const MAX_DEPTH = 8;

/** An element's or box's content, by its place in the file. */
interface Extent {
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

/** @returns 0 for files that have none, cannot be read or are of another kind */
export function countChapters(file: string): number {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch {
    return 0;
  }
  try {
    const found = fstatSync(descriptor);
    if (!found.isFile()) return 0;
    const bytes = new FileBytes(descriptor, found.size);
    return bytes.number(0, 4) === EBML_HEADER ? matroskaChapters(bytes) : mp4Chapters(bytes);
  } catch (error) {
    if (error instanceof Unexpected) return 0;
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** The file ends too early, holds too much, or the disk fails: libav says so where it matters. */
class Unexpected extends Error {}

class FileBytes {
  readonly size: number;
  readonly #descriptor: number;
  readonly #buffer = Buffer.alloc(8);
  #elements = 0;

  constructor(descriptor: number, size: number) {
    this.#descriptor = descriptor;
    this.size = size;
  }

  /** Big-endian, of at most six bytes. */
  number(at: number, length: number): number {
    let read: number;
    try {
      read = readSync(this.#descriptor, this.#buffer, 0, length, at);
    } catch {
      throw new Unexpected();
    }
    if (read < length) throw new Unexpected();
    return this.#buffer.readUIntBE(0, length);
  }

  countElement(): void {
    this.#elements += 1;
    if (this.#elements > MAX_ELEMENTS) throw new Unexpected();
  }
}

// Matroska: identifiers with their length marker, as RFC 9559 writes them.
const EBML_HEADER = 0x1a45dfa3;
const SEGMENT = 0x18538067;
const SEEK_HEAD = 0x114d9b74;
const SEEK = 0x4dbb;
const SEEK_ID = 0x53ab;
const SEEK_POSITION = 0x53ac;
const CHAPTERS = 0x1043a770;
const EDITION_ENTRY = 0x45b9;
const CHAPTER_ATOM = 0xb6;
const CLUSTER = 0x1f43b675;

function matroskaChapters(bytes: FileBytes): number {
  const segment = first(ebmlElements(bytes, 0, bytes.size), SEGMENT);
  if (segment === undefined) return 0;
  for (const element of ebmlElements(bytes, segment.start, segment.end)) {
    if (element.id === CHAPTERS) return chapterAtoms(bytes, element);
    if (element.id === SEEK_HEAD) {
      const position = seekPosition(bytes, element);
      const [chapters] = position === undefined ? [] : ebmlElements(bytes, segment.start + position, segment.end);
      if (chapters?.id === CHAPTERS) return chapterAtoms(bytes, chapters);
    }
    // The pictures begin; what lies behind them is named in front.
    if (element.id === CLUSTER) return 0;
  }
  return 0;
}

/** Where the chapters are, from the segment's first byte. */
function seekPosition(bytes: FileBytes, seekHead: Extent): number | undefined {
  for (const seek of ebmlElements(bytes, seekHead.start, seekHead.end)) {
    if (seek.id !== SEEK) continue;
    const entries = [...ebmlElements(bytes, seek.start, seek.end)];
    const id = entries.find((entry) => entry.id === SEEK_ID);
    const position = entries.find((entry) => entry.id === SEEK_POSITION);
    if (id === undefined || position === undefined) continue;
    if (value(bytes, id) === CHAPTERS) return value(bytes, position);
  }
  return undefined;
}

/** Of the first edition; others are the same chapters in another order or selection. */
function chapterAtoms(bytes: FileBytes, chapters: Extent): number {
  const edition = first(ebmlElements(bytes, chapters.start, chapters.end), EDITION_ENTRY);
  if (edition === undefined) return 0;
  let count = 0;
  for (const { id } of ebmlElements(bytes, edition.start, edition.end)) if (id === CHAPTER_ATOM) count += 1;
  return count;
}

function* ebmlElements(bytes: FileBytes, from: number, to: number): Generator<Extent> {
  for (let at = from; at < to;) {
    bytes.countElement();
    const idLength = vintLength(bytes.number(at, 1));
    if (idLength > 4) throw new Unexpected();
    const id = bytes.number(at, idLength);
    at += idLength;
    const begin = bytes.number(at, 1);
    const length = vintLength(begin);
    let size = begin & (0xff >> length);
    let isUnknown = size === 0xff >> length;
    for (let index = 1; index < length; index += 1) {
      const byte = bytes.number(at + index, 1);
      size = size * 256 + byte;
      isUnknown &&= byte === 0xff;
    }
    at += length;
    // A live recording's segment ends where the file ends.
    const end = isUnknown ? to : Math.min(to, at + size);
    yield { id, start: at, end };
    at = end;
  }
}

/** Bytes of a variable-size integer (RFC 8794, 4.1) by its first one. */
function vintLength(firstByte: number): number {
  const length = Math.clz32(firstByte) - 23;
  if (length > 8) throw new Unexpected();
  return length;
}

function value(bytes: FileBytes, { start, end }: Extent): number {
  if (end - start < 1 || end - start > 6) {
    // Positions are written in eight bytes by some; the upper two are 0 in any real file.
    if (end - start === 8 && bytes.number(start, 2) === 0) return bytes.number(start + 2, 6);
    throw new Unexpected();
  }
  return bytes.number(start, end - start);
}

const box = (name: string): number => Buffer.from(name, 'latin1').readUInt32BE(0);
const MP4_CONTAINERS = new Set(['moov', 'trak', 'mdia', 'minf', 'stbl', 'tref', 'udta'].map(box));

function mp4Chapters(bytes: FileBytes): number {
  /** Samples by track, and the tracks that others take their chapters from. */
  const samples = new Map<number, number>();
  const titles = new Set<number>();
  let listed = 0;
  let track = 0;
  const walk = (from: number, to: number, depth: number): void => {
    for (const { id, start, end } of mp4Boxes(bytes, from, to)) {
      if (id === box('tkhd')) track = bytes.number(start + (bytes.number(start, 1) === 1 ? 20 : 12), 4);
      else if (id === box('chap')) for (let at = start; at + 4 <= end; at += 4) titles.add(bytes.number(at, 4));
      else if (id === box('stsz')) samples.set(track, bytes.number(start + 8, 4));
      else if (id === box('chpl')) listed = bytes.number(start + (bytes.number(start, 1) === 1 ? 8 : 4), 1);
      else if (MP4_CONTAINERS.has(id) && depth < MAX_DEPTH) walk(start, end, depth + 1);
    }
  };
  walk(0, bytes.size, 0);
  return Math.max(listed, ...[...titles].map((id) => samples.get(id) ?? 0));
}

function* mp4Boxes(bytes: FileBytes, from: number, to: number): Generator<Extent> {
  for (let at = from; at + 8 <= to;) {
    bytes.countElement();
    const size = bytes.number(at, 4);
    const id = bytes.number(at + 4, 4);
    let start = at + 8;
    let end = size === 0 ? to : at + size;
    if (size === 1) {
      if (bytes.number(at + 8, 2) !== 0) throw new Unexpected();
      end = at + bytes.number(at + 10, 6);
      start = at + 16;
    }
    if (end < start) throw new Unexpected();
    yield { id, start, end: Math.min(end, to) };
    at = end;
  }
}

function first(elements: Iterable<Extent>, id: number): Extent | undefined {
  for (const element of elements) if (element.id === id) return element;
  return undefined;
}
