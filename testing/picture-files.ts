import { crc32, deflateSync } from 'node:zlib';

/** Picture files that encoders rarely write, made byte by byte: colour types, orientations, CMYK. */

type Samples = (x: number, y: number) => readonly number[];

export interface PngOptions {
  readonly depth?: 8 | 16;
  /** Chunks in front of the picture, for example `eXIf`. */
  readonly chunks?: readonly (readonly [type: string, data: Buffer])[];
}

/** ISO/IEC 15948, colour type by the number of samples: grey, grey and alpha, RGB, RGBA. */
export function pngFile(width: number, height: number, samples: Samples, options: PngOptions = {}): Buffer {
  const count = samples(0, 0).length;
  return png(width, height, [0, 4, 2, 6][count - 1] ?? 2, samples, options);
}

/** A palette of [red, green, blue, alpha]; `index` gives each pixel's entry. */
export function palettePng(
  width: number,
  height: number,
  palette: readonly (readonly [number, number, number, number])[],
  index: (x: number, y: number) => number,
): Buffer {
  const chunks = [
    ['PLTE', Buffer.from(palette.flatMap(([red, green, blue]) => [red, green, blue]))],
    ['tRNS', Buffer.from(palette.map(([, , , alpha]) => alpha))],
  ] as const;
  return png(width, height, 3, (x, y) => [index(x, y)], { chunks });
}

function png(
  width: number,
  height: number,
  type: number,
  samples: Samples,
  { depth = 8, chunks = [] }: PngOptions,
): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.writeUInt8(depth, 8);
  header.writeUInt8(type, 9);
  const rows: number[] = [];
  for (let y = 0; y < height; y += 1) {
    rows.push(0);
    for (let x = 0; x < width; x += 1)
      for (const sample of samples(x, y)) rows.push(...(depth === 16 ? [sample >> 8, sample & 255] : [sample]));
  }
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    ...(
      [['IHDR', header], ...chunks, ['IDAT', deflateSync(Buffer.from(rows))], ['IEND', Buffer.alloc(0)]] as const
    ).map(([name, data]) => pngChunk(name, data)),
  ]);
}

function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const chunk = Buffer.alloc(body.length + 8);
  chunk.writeUInt32BE(data.length, 0);
  body.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(body), body.length + 4);
  return chunk;
}

/** A TIFF structure with the tag Orientation alone, as Exif has it. */
export function exif(orientation: number, order: 'II' | 'MM'): Buffer {
  const data = Buffer.alloc(26);
  const short = order === 'II' ? data.writeUInt16LE.bind(data) : data.writeUInt16BE.bind(data);
  const long = order === 'II' ? data.writeUInt32LE.bind(data) : data.writeUInt32BE.bind(data);
  data.write(order, 0, 'latin1');
  short(42, 2);
  long(8, 4);
  short(1, 8);
  short(0x112, 10);
  short(3, 12);
  long(1, 14);
  short(orientation, 18);
  return data;
}

/** @param jpeg as an encoder writes it; Exif becomes its first segment */
export function jpegWithExif(jpeg: Buffer, tags: Buffer): Buffer {
  const segment = Buffer.alloc(10);
  segment.writeUInt16BE(0xffe1, 0);
  segment.writeUInt16BE(8 + tags.length, 2);
  segment.write('Exif\0\0', 4, 'latin1');
  return Buffer.concat([jpeg.subarray(0, 2), segment, tags, jpeg.subarray(2)]);
}

/** @param webp one lossy picture in the simple format; it becomes the extended format (RFC 9649 section 2.7) */
export function webpWithExif(webp: Buffer, width: number, height: number, tags: Buffer): Buffer {
  const extended = Buffer.alloc(18);
  extended.write('VP8X', 0, 'latin1');
  extended.writeUInt32LE(10, 4);
  extended.writeUInt8(0x08, 8);
  extended.writeUIntLE(width - 1, 12, 3);
  extended.writeUIntLE(height - 1, 15, 3);
  const head = Buffer.alloc(8);
  head.write('EXIF', 0, 'latin1');
  head.writeUInt32LE(tags.length, 4);
  const body = Buffer.concat([Buffer.from('WEBP', 'latin1'), extended, webp.subarray(12), head, tags]);
  const riff = Buffer.alloc(8);
  riff.write('RIFF', 0, 'latin1');
  riff.writeUInt32LE(body.length, 4);
  return Buffer.concat([riff, body]);
}

/** Uncompressed RGB (TIFF 6.0 section 6). */
export function tiffFile(width: number, height: number, samples: Samples, orientation: number): Buffer {
  const tags: readonly (readonly [tag: number, type: number, value: number])[] = [
    [256, 3, width],
    [257, 3, height],
    [259, 3, 1],
    [262, 3, 2],
    [273, 4, 200],
    [274, 3, orientation],
    [277, 3, 3],
    [278, 3, height],
    [279, 4, width * height * 3],
  ];
  const head = Buffer.alloc(200);
  head.write('II*\0', 0, 'latin1');
  head.writeUInt32LE(8, 4);
  // BitsPerSample does not fit into its entry: three numbers at 190.
  const all = [...tags, [258, 3, 190] as const].sort(([a], [b]) => a - b);
  head.writeUInt16LE(all.length, 8);
  for (const [index, [tag, type, value]] of all.entries()) {
    const at = 10 + 12 * index;
    head.writeUInt16LE(tag, at);
    head.writeUInt16LE(type, at + 2);
    head.writeUInt32LE(tag === 258 ? 3 : 1, at + 4);
    head.writeUInt32LE(value, at + 8);
  }
  for (const at of [190, 192, 194]) head.writeUInt16LE(8, at);
  const pixels: number[] = [];
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) pixels.push(...samples(x, y));
  return Buffer.concat([head, Buffer.from(pixels)]);
}

/** A CMYK JPEG of 16 x 16 pixels of one colour, as Adobe's programs write it: inverted, 255 is no ink. */
export function cmykJpeg(ink: readonly [number, number, number, number]): Buffer {
  const segment = (marker: number, ...data: number[]): number[] => [0xff, marker, 0, data.length + 2, ...data];
  const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);
  const of = (entry: (id: number) => number[]): number[] => [1, 2, 3, 4].flatMap(entry);
  const head = [
    ...[0xff, 0xd8],
    ...segment(0xee, ...Buffer.from('Adobe', 'latin1'), 0, 100, 0, 0, 0, 0, 0),
    // All of the table are 8, so that a DC coefficient is the mean itself.
    ...segment(0xdb, 0, ...Array.from({ length: 64 }, () => 8)),
    ...segment(0xc0, 8, 0, 16, 0, 16, 4, ...of((id) => [id, 0x11, 0])),
    // DC: nine codes of four bits, the sizes 0 to 8. AC: one code of one bit, the end of the block.
    ...segment(0xc4, 0x00, ...[0, 0, 0, 9, ...zeros(12)], ...[0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ...segment(0xc4, 0x10, ...[1, ...zeros(15)], 0),
    ...segment(0xda, 4, ...of((id) => [id, 0]), 0, 63, 0),
  ];
  let bits = '';
  for (let block = 0; block < 4; block += 1) {
    for (const value of ink) {
      const step = block === 0 ? value - 128 : 0;
      const size = step === 0 ? 0 : Math.floor(Math.log2(Math.abs(step))) + 1;
      bits += size.toString(2).padStart(4, '0');
      if (size > 0) bits += (step > 0 ? step : step + 2 ** size - 1).toString(2).padStart(size, '0');
      bits += '0';
    }
  }
  bits = bits.padEnd(8 * Math.ceil(bits.length / 8), '1');
  const data = Array.from({ length: bits.length / 8 }, (_, at) => parseInt(bits.slice(8 * at, 8 * at + 8), 2));
  return Buffer.from([...head, ...data.flatMap((byte) => (byte === 0xff ? [0xff, 0] : [byte])), 0xff, 0xd9]);
}

/** GIF89a of 32 x 32 pixels: a black, then a coloured half; each frame's time in hundredths of a second. */
export function gifFile(times: readonly number[], transparent: boolean): Buffer {
  const bytes: number[] = [...Buffer.from('GIF89a', 'latin1'), 32, 0, 32, 0, 0xf1, 0, 0];
  bytes.push(...[0, 0, 0], ...[255, 0, 0], ...[0, 255, 0], ...[0, 0, 255]);
  for (const [frame, time] of times.entries()) {
    bytes.push(0x21, 0xf9, 4, 8 + Number(transparent), time & 255, time >> 8, 0, 0);
    bytes.push(0x2c, 0, 0, 0, 0, 32, 0, 32, 0, 0, ...gifPixels((x) => (x < 16 ? 0 : 1 + (frame % 3))));
  }
  return Buffer.from([...bytes, 0x3b]);
}

/** Codes of three bits, and a clear code before they would grow: no compression. */
function gifPixels(colour: (x: number) => number): number[] {
  const codes = [4];
  for (let pixel = 0; pixel < 32 * 32; pixel += 1) {
    codes.push(colour(pixel % 32));
    if (pixel % 2 === 1) codes.push(4);
  }
  codes.push(5);
  const data = Array.from({ length: Math.ceil((3 * codes.length) / 8) }, () => 0);
  for (const [index, code] of codes.entries()) {
    for (let bit = 0; bit < 3; bit += 1) {
      const at = 3 * index + bit;
      if ((code >> bit) & 1) data[at >> 3] = (data[at >> 3] ?? 0) | (1 << (at & 7));
    }
  }
  const blocks: number[] = [2];
  for (let at = 0; at < data.length; at += 255) {
    const block = data.slice(at, at + 255);
    blocks.push(block.length, ...block);
  }
  return [...blocks, 0];
}
