/** Reading and writing 8-bit PNG (grey, RGB, RGBA; not interlaced): test pictures in, crops out. */
import { deflateSync, inflateSync } from 'node:zlib';
import type { Rgb } from './colour.ts';
import { clampByte } from './colour.ts';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** @throws when the file is no PNG or of a kind not read here */
export function readPng(file: Buffer): Rgb {
  if (!file.subarray(0, 8).equals(SIGNATURE)) throw new Error('not a PNG file');
  const parts: Buffer[] = [];
  let [width, height, channels] = [0, 0, 0];
  for (let offset = 8; offset + 8 <= file.length;) {
    const length = file.readUInt32BE(offset);
    const kind = file.toString('latin1', offset + 4, offset + 8);
    const data = file.subarray(offset + 8, offset + 8 + length);
    if (kind === 'IHDR') {
      [width, height] = [data.readUInt32BE(0), data.readUInt32BE(4)];
      channels = { 0: 1, 2: 3, 6: 4 }[data[9] ?? -1] ?? 0;
      if (data[8] !== 8 || !channels || data[12])
        throw new Error(`PNG: only 8-bit grey, RGB and RGBA without interlacing are read`);
    }
    if (kind === 'IDAT') parts.push(data);
    offset += length + 12;
  }
  const raw = inflateSync(Buffer.concat(parts));
  const stride = width * channels;
  const lines = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)] ?? 0;
    for (let i = 0; i < stride; i++) {
      const left = i >= channels ? (lines[y * stride + i - channels] ?? 0) : 0;
      const up = y ? (lines[(y - 1) * stride + i] ?? 0) : 0;
      const corner = y && i >= channels ? (lines[(y - 1) * stride + i - channels] ?? 0) : 0;
      lines[y * stride + i] = (raw[y * (stride + 1) + 1 + i] ?? 0) + predict(filter, left, up, corner);
    }
  }
  const n = width * height;
  const out = new Float32Array(3 * n);
  for (let i = 0; i < n; i++)
    for (let c = 0; c < 3; c++) out[c * n + i] = lines[i * channels + (channels === 1 ? 0 : c)] ?? 0;
  return { width, height, data: out };
}

function predict(filter: number, left: number, up: number, corner: number): number {
  if (filter === 0) return 0;
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

export function writePng({ width, height, data }: Rgb): Buffer {
  const n = width * height;
  const raw = Buffer.alloc(height * (3 * width + 1));
  for (let y = 0; y < height; y++) {
    raw[y * (3 * width + 1)] = 1; // left prediction
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) {
        const value = clampByte(data[c * n + y * width + x] ?? 0);
        const left = x ? clampByte(data[c * n + y * width + x - 1] ?? 0) : 0;
        raw[y * (3 * width + 1) + 1 + 3 * x + c] = (value - left) & 255;
      }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(raw, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(kind: string, data: Buffer): Buffer {
  const out = Buffer.alloc(data.length + 12);
  out.writeUInt32BE(data.length, 0);
  out.write(kind, 4, 'latin1');
  data.copy(out, 8);
  let crc = 0xffffffff;
  for (const byte of out.subarray(4, data.length + 8)) crc = (CRC[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8);
  out.writeUInt32BE((crc ^ 0xffffffff) >>> 0, data.length + 8);
  return out;
}
