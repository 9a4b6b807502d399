/** Resizing, colour, PNG: what every score stands on. */
import { deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { i420Chroma, i420Luma, i420ToRgb, rgbLuma, rgbToI420, type Rgb } from '../colour.ts';
import { magnify, tile } from '../crops.ts';
import { readPng, writePng } from '../png.ts';
import { resizePlane } from '../resize.ts';
import { plane, random } from './planes.ts';

const flat = (width: number, height: number, rgb: [number, number, number]): Rgb => ({
  width,
  height,
  data: Float32Array.from({ length: 3 * width * height }, (_, i) => rgb[Math.floor(i / (width * height))] ?? 0),
});

describe('resizing', () => {
  it("doubles an impulse into Keys' cubic weights at a quarter and three quarters", () => {
    const impulse = plane(9, 1, (x) => (x === 4 ? 1 : 0));
    const row = resizePlane(impulse, 18, 1, 'bicubic').data;
    const expected = [-0.0234375, -0.0703125, 0.2265625, 0.8671875, 0.8671875, 0.2265625, -0.0703125, -0.0234375];
    expected.forEach((value, i) => expect(row[5 + i]).toBeCloseTo(value, 6));
    expect(row[4]).toBe(0);
  });

  it.each(['bicubic', 'lanczos3'] as const)('%s keeps flat planes at every border and size', (kernel) => {
    for (const [w, h] of [
      [40, 28],
      [5, 3],
      [10, 7],
    ] as const)
      for (const value of resizePlane(
        plane(10, 7, () => 93),
        w,
        h,
        kernel,
      ).data)
        expect(value).toBeCloseTo(93, 3);
  });

  it('keeps a slope inside, with centred samples', () => {
    const out = resizePlane(
      plane(12, 1, (x) => 10 * x),
      48,
      1,
      'bicubic',
    ).data;
    for (let x = 12; x < 36; x++) expect(out[x]).toBeCloseTo(10 * ((x + 0.5) / 4 - 0.5), 3);
  });

  it('shrinks antialiased: a single bright line keeps its light wherever it lies', () => {
    for (const at of [30, 31, 32, 33]) {
      const out = resizePlane(
        plane(64, 1, (x) => (x === at ? 100 : 0)),
        16,
        1,
        'bicubic',
      ).data;
      expect(out.reduce((sum, value) => sum + value, 0)).toBeCloseTo(25, 1);
      expect(Math.max(...out)).toBeLessThan(30);
    }
  });

  it('undoes itself where nothing is finer than the small grid', () => {
    const wave = plane(64, 64, (x, y) => 128 + 60 * Math.sin(x / 14) * Math.cos(y / 15));
    const back = resizePlane(resizePlane(wave, 16, 16, 'bicubic'), 64, 64, 'bicubic').data;
    for (let y = 16; y < 48; y++)
      for (let x = 16; x < 48; x++) {
        const at = y * 64 + x;
        expect(Math.abs((back[at] ?? 0) - (wave.data[at] ?? 0))).toBeLessThan(1);
      }
  });
});

describe('colour', () => {
  it.each([
    ['white', [255, 255, 255], [235, 128, 128]],
    ['black', [0, 0, 0], [16, 128, 128]],
    ['red', [255, 0, 0], [81, 90, 240]],
    ['green', [0, 255, 0], [145, 54, 34]],
    ['blue', [0, 0, 255], [41, 240, 110]],
  ] as const)('%s has the BT.601 limited-range code values', (_name, [r, g, b], expected) => {
    const { data } = rgbToI420(flat(4, 2, [r, g, b]));
    expect([data[0], data[8], data[10]]).toEqual([...expected]);
  });

  it('luma is not rounded', () => {
    expect(rgbLuma(flat(1, 1, [255, 0, 0])).data[0]).toBeCloseTo(81.481, 3);
  });

  it('goes to planes and back within rounding, odd sizes too', () => {
    const back = i420ToRgb(rgbToI420(flat(7, 5, [200, 100, 50])));
    expect([back.width, back.height]).toEqual([7, 5]);
    [200, 100, 50].forEach((value, c) => expect(Math.abs((back.data[35 * c + 17] ?? 0) - value)).toBeLessThan(2));
  });

  it('keeps U and V apart, each a quarter', () => {
    const i420 = rgbToI420(flat(6, 4, [255, 0, 0]));
    const [u, v] = i420Chroma(i420);
    expect([u.width, u.height, u.data[0], v.data[0]]).toEqual([3, 2, 90, 240]);
    expect(i420Luma(i420).data).toHaveLength(24);
  });
});

describe('PNG', () => {
  const next = random(5);
  const picture: Rgb = {
    width: 13,
    height: 9,
    data: Float32Array.from({ length: 3 * 13 * 9 }, () => Math.floor(next() * 256)),
  };

  it('reads what it writes', () => {
    expect(readPng(writePng(picture))).toEqual(picture);
  });

  it.each([0, 1, 2, 3, 4])('reads filter %i', (filter) => {
    const file = writePng(picture);
    expect(readPng(withFilter(file, picture, filter))).toEqual(picture);
  });

  it('refuses what it does not read', () => {
    expect(() => readPng(Buffer.from('GIF89a..............'))).toThrow('not a PNG');
    const sixteen = Buffer.from(writePng(picture));
    sixteen[24] = 16;
    expect(() => readPng(sixteen)).toThrow('only 8-bit');
  });
});

/** The same picture with every line under one filter (PNG specification, section 9), made the slow way. */
function withFilter(file: Buffer, { width, height, data }: Rgb, filter: number): Buffer {
  const at = (x: number, y: number, c: number): number =>
    x < 0 || y < 0 ? 0 : (data[(c * height + y) * width + x] ?? 0);
  const raw: number[] = [];
  for (let y = 0; y < height; y++) {
    raw.push(filter);
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) {
        const [left, up, corner] = [at(x - 1, y, c), at(x, y - 1, c), at(x - 1, y - 1, c)];
        const guess = left + up - corner;
        const distances = [left, up, corner].map((value) => Math.abs(guess - value));
        const nearest = [left, up, corner][distances.indexOf(Math.min(...distances))] ?? 0;
        const prediction = [0, left, up, Math.floor((left + up) / 2), nearest][filter] ?? 0;
        raw.push((at(x, y, c) - prediction) & 255);
      }
  }
  const content = deflateSync(Buffer.from(raw));
  const chunk = (kind: string, bytes: Buffer): Buffer => {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(bytes.length, 0);
    head.write(kind, 4, 'latin1');
    return Buffer.concat([head, bytes, Buffer.alloc(4)]);
  };
  return Buffer.concat([file.subarray(0, 33), chunk('IDAT', content), chunk('IEND', Buffer.alloc(0))]);
}

describe('crops', () => {
  it('magnifies to squares and tiles with white gaps', () => {
    const dot: Rgb = { width: 2, height: 1, data: Float32Array.of(10, 20, 30, 40, 50, 60) };
    expect([...magnify(dot, 2).data.subarray(0, 8)]).toEqual([10, 10, 20, 20, 10, 10, 20, 20]);
    const sheet = tile([dot, dot, dot], 2);
    expect([sheet.width, sheet.height]).toEqual([8, 6]);
    expect([...sheet.data.subarray(0, 8)]).toEqual([10, 20, 255, 255, 255, 255, 10, 20]);
    // The third stands in the second row, below a gap of four lines; beside it stays white.
    expect([...sheet.data.subarray(40, 48)]).toEqual([10, 20, 255, 255, 255, 255, 255, 255]);
    expect(() => tile([dot, magnify(dot, 2)], 2)).toThrow('differ in size');
  });
});
