import { open, type FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import type { Chapter } from './chapters.ts';

/**
 * Chapters into a file that is complete, since node-av gives none to libav's muxers. Nothing else of it moves: Matroska gets an
 * element behind its last one, which a reserved place in front points at; of an MP4 the index, which is its last box, grows.
 */

/** Nero's list counts in one byte. */
const MAX_MP4_CHAPTERS = 255;
/** The index of a day of film. */
const MAX_INDEX_BYTES = 2 ** 30;

/** @returns how many are in the file now */
export async function writeChapters(
  file: string,
  form: 'matroska' | 'mp4',
  chapters: readonly Chapter[],
): Promise<number> {
  if (chapters.length === 0) return 0;
  const handle = await open(file, 'r+');
  try {
    const { size } = await handle.stat();
    return await (form === 'mp4' ? intoMp4 : intoMatroska)(handle, size, chapters);
  } finally {
    await handle.close();
  }
}

async function bytesAt(handle: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await handle.read(bytes, 0, length, at);
  return bytes.subarray(0, bytesRead);
}

// Matroska (RFC 9559), elements by their identifiers with the length marker.
const SEGMENT = 0x18538067;
const SEEK_HEAD = 0x114d9b74;
const CHAPTERS = 0x1043a770;
const CRC_32 = 0xbf;
const VOID = 0xec;
/** The beginning of libav's files, with the place that it reserves behind the seek head. */
const FRONT_BYTES = 4096;

async function intoMatroska(handle: FileHandle, size: number, chapters: readonly Chapter[]): Promise<number> {
  const front = await bytesAt(handle, 0, FRONT_BYTES);
  const header = elementAt(front, 0);
  const segment = elementAt(front, header.end);
  const seekHead = elementAt(front, segment.start);
  const reserved = elementAt(front, seekHead.end);
  // Other files than libav's; and one whose length is open was never finished.
  const eightBytes = front[segment.start - 8] === 1;
  const known =
    eightBytes && segment.id === SEGMENT && seekHead.id === SEEK_HEAD && reserved.id === VOID && segment.end === size;
  if (!known) return 0;
  const room = reserved.end - segment.start;
  const entry = element(
    0x4dbb,
    element(0x53ab, unsigned(CHAPTERS, 4)),
    element(0x53ac, unsigned(size - segment.start, 8)),
  );
  let entries = front.subarray(seekHead.start, seekHead.end);
  const hasCrc = entries[0] === CRC_32;
  if (hasCrc) entries = entries.subarray(6);
  const content = Buffer.concat([entries, entry]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(content));
  const written = hasCrc ? element(SEEK_HEAD, element(CRC_32, sum), content) : element(SEEK_HEAD, content);
  const left = room - written.length;
  if (left < 9) return 0;
  const list = chaptersElement(chapters);
  const filler = Buffer.concat([Buffer.of(VOID), eightByteSize(left - 9), Buffer.alloc(left - 9)]);
  // In this order a reader finds a whole file at every moment.
  await handle.write(list, 0, list.length, size);
  await handle.write(eightByteSize(size - segment.start + list.length), 0, 8, segment.start - 8);
  await handle.write(Buffer.concat([written, filler]), 0, room, segment.start);
  return chapters.length;
}

function chaptersElement(chapters: readonly Chapter[]): Buffer {
  const nanoseconds = (seconds: number): Buffer => unsigned(Math.round(seconds * 1e6) * 1e3, 8);
  const atoms = chapters.map(({ startSeconds, endSeconds, title }, index) =>
    element(
      0xb6,
      element(0x73c4, unsigned(index + 1, 4)),
      element(0x91, nanoseconds(startSeconds)),
      element(0x92, nanoseconds(endSeconds)),
      ...(title === '' ? [] : [element(0x80, element(0x85, Buffer.from(title)), element(0x437c, Buffer.from('und')))]),
    ),
  );
  return element(CHAPTERS, element(0x45b9, element(0x45db, Buffer.of(1)), ...atoms));
}

interface Extent {
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

function elementAt(bytes: Buffer, at: number): Extent {
  const idLength = Math.clz32(bytes[at] ?? 0) - 23;
  const sizeAt = at + idLength;
  const sizeLength = Math.clz32(bytes[sizeAt] ?? 0) - 23;
  // Identifiers have up to four bytes, sizes up to eight; anything else is not one of libav's files.
  if (idLength > 4 || sizeLength > 8 || sizeAt + sizeLength > bytes.length) return { id: 0, start: 0, end: 0 };
  let size = (bytes[sizeAt] ?? 0) & (0xff >> sizeLength);
  for (let index = 1; index < sizeLength; index += 1) size = size * 256 + (bytes[sizeAt + index] ?? 0);
  const start = sizeAt + sizeLength;
  return { id: bytes.readUIntBE(at, idLength), start, end: start + size };
}

/** As libav writes a segment's: a marker, then seven bytes. */
function eightByteSize(value: number): Buffer {
  const bytes = unsigned(value, 8);
  bytes[0] = 1;
  return bytes;
}

/** Big-endian. */
function unsigned(value: number, length: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes.subarray(8 - length);
}

function element(id: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const idBytes = unsigned(id, id > 0xffffff ? 4 : id > 0xff ? 2 : 1);
  return Buffer.concat([idBytes, unsigned(2 ** 28 + content.length, 4), content]);
}

/** ISO/IEC 14496-12 boxes; `chpl` is Nero's, which FFmpeg, mpv, VLC and Kodi read. */
async function intoMp4(handle: FileHandle, size: number, chapters: readonly Chapter[]): Promise<number> {
  let at = 0;
  let name = '';
  let length = 0;
  for (; at < size; at += length) {
    const head = await bytesAt(handle, at, 16);
    if (head.length < 8) return 0;
    name = head.toString('latin1', 4, 8);
    length = head.readUInt32BE(0);
    if (length === 1 && head.length === 16) length = Number(head.readBigUInt64BE(8));
    if (name === 'moov' || length < 8) break;
  }
  // A box behind the index (fragments) would move.
  if (name !== 'moov' || at + length !== size || length > MAX_INDEX_BYTES) return 0;
  const kept = chapters.slice(0, MAX_MP4_CHAPTERS);
  const index = await bytesAt(handle, at, length);
  const grown = withUserData(index, listOf(kept));
  await handle.write(grown, 0, grown.length, at);
  return kept.length;
}

function withUserData(index: Buffer, list: Buffer): Buffer {
  const boxes = [...boxesIn(index, 8, index.length)];
  const found = boxes.find(({ name }) => name === 'udta');
  const children = boxes.map(({ name, start, end }) =>
    name === 'udta' ? box('udta', index.subarray(start + 8, end), list) : index.subarray(start, end),
  );
  return box('moov', ...children, ...(found === undefined ? [box('udta', list)] : []));
}

function* boxesIn(bytes: Buffer, from: number, to: number): Generator<{ name: string; start: number; end: number }> {
  for (let at = from; at + 8 <= to;) {
    const length = Math.max(8, bytes.readUInt32BE(at));
    yield { name: bytes.toString('latin1', at + 4, at + 8), start: at, end: Math.min(to, at + length) };
    at += length;
  }
}

function listOf(chapters: readonly Chapter[]): Buffer {
  const entries = chapters.flatMap(({ startSeconds, title }) => {
    const name = shortened(title);
    return [unsigned(Math.round(startSeconds * 1e6) * 10, 8), Buffer.of(name.length), name];
  });
  return box('chpl', Buffer.of(1, 0, 0, 0, 0, 0, 0, 0, chapters.length), ...entries);
}

/** At most 255 bytes, and no half of a character. */
function shortened(title: string): Buffer {
  let text = title;
  while (Buffer.byteLength(text) > 255) text = [...text].slice(0, -1).join('');
  return Buffer.from(text);
}

function box(name: string, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + content.length);
  head.write(name, 4, 'latin1');
  return Buffer.concat([head, content]);
}
