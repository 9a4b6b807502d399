import { describe, expect, it } from 'vitest';
import { ColourConverter } from '../colour-converter.ts';
import { Decoder } from '../decoder.ts';
import { Encoder, type EncodedPicture } from '../encoder.ts';
import type { FramePicture } from '../frame-picture.ts';
import { RgbReader, RgbWriter } from '../rgb.ts';
import { PictureScaler } from '../scaler.ts';
import { BT601, makePicture } from '../../../testing/pictures.ts';
import type { Picture } from '../../media/picture.ts';
import type { Colour } from '../../media/types.ts';

/** 75 % colour bars: red, green, blue of each, 0..1. */
const BARS: readonly (readonly [number, number, number])[] = [
  [0.75, 0.75, 0.75],
  [0.75, 0.75, 0],
  [0, 0.75, 0.75],
  [0, 0.75, 0],
  [0.75, 0, 0.75],
  [0.75, 0, 0],
  [0, 0, 0.75],
  [0, 0, 0],
];

const WEIGHTS = { bt601: [0.299, 0.114], bt709: [0.2126, 0.0722], bt2020: [0.2627, 0.0593] } as const;

/** Y'CbCr of an R'G'B' colour by ITU-T H.273 8.3, written down independently of the code under test. */
function toYuv(
  [red, green, blue]: readonly [number, number, number],
  { matrix, range }: Colour,
): [number, number, number] {
  const [kr, kb] = WEIGHTS[matrix];
  const y = kr * red + (1 - kr - kb) * green + kb * blue;
  const cb = (blue - y) / (2 * (1 - kb));
  const cr = (red - y) / (2 * (1 - kr));
  return range === 'full' ? [255 * y, 128 + 255 * cb, 128 + 255 * cr] : [16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr];
}

function bars(width: number, height: number, colour: Colour): Picture {
  const picture = makePicture(width, height, 0, () => 0, [0, 0], colour);
  const barOf = (x: number, across: number): readonly [number, number, number] =>
    BARS[Math.floor((x * BARS.length) / across)] ?? [0, 0, 0];
  for (let row = 0; row < height; row += 1) {
    for (let x = 0; x < width; x += 1)
      picture.y[row * picture.yStride + x] = Math.round(toYuv(barOf(x, width), colour)[0]);
  }
  for (let row = 0; row < height >> 1; row += 1) {
    for (let x = 0; x < width >> 1; x += 1) {
      const [, u, v] = toYuv(barOf(x, width >> 1), colour);
      picture.u[row * picture.uvStride + x] = Math.round(u);
      picture.v[row * picture.uvStride + x] = Math.round(v);
    }
  }
  return picture;
}

/** Y, U, V in the middle of each bar. */
function middles(picture: Picture): number[][] {
  const row = picture.height >> 1;
  return BARS.map((_, bar) => {
    const x = Math.floor(((bar + 0.5) * picture.width) / BARS.length);
    const chroma = (row >> 1) * picture.uvStride + (x >> 1);
    return [picture.y[row * picture.yStride + x] ?? 0, picture.u[chroma] ?? 0, picture.v[chroma] ?? 0];
  });
}

function expectBars(picture: Picture, colour: Colour, levels: number): void {
  const found = middles(picture);
  BARS.forEach((bar, index) => {
    toYuv(bar, colour).forEach((value, plane) => {
      expect(Math.abs((found[index]?.[plane] ?? 0) - value), `bar ${index}, plane ${plane}`).toBeLessThanOrEqual(
        levels,
      );
    });
  });
}

const COLOURS: readonly Colour[] = [
  { matrix: 'bt601', range: 'limited' },
  { matrix: 'bt601', range: 'full' },
  { matrix: 'bt709', range: 'limited' },
  { matrix: 'bt709', range: 'full' },
  { matrix: 'bt2020', range: 'limited' },
];

describe.each(COLOURS)('$matrix $range', (colour) => {
  it('is converted to BT.601 limited range within 1.5 levels', () => {
    const scaler = new ColourConverter(320, 192, BT601);
    const source = new PictureScaler(320, 192).scale(bars(320, 192, colour));
    const result = scaler.convert(source.frame, colour, 0, source.trace);
    expect(result.colour).toEqual(BT601);
    expectBars(result, BT601, 1.5);
    scaler.close();
  });

  it('survives a resize untouched', () => {
    const scaler = new PictureScaler(1280, 768, 'lanczos');
    const result = scaler.scale(bars(320, 192, colour));
    expect(result.colour).toEqual(colour);
    expectBars(result, colour, 1);
    scaler.close();
  });

  it('reads as the right RGB and comes back from it within 1.5 levels', () => {
    const reader = new RgbReader();
    const writer = new RgbWriter(320, 192);
    const layout = { rowValues: 336, rows: 200 };
    const values = new Float32Array(3 * layout.rowValues * layout.rows).fill(-7);
    reader.read(bars(320, 192, colour), values, layout);
    BARS.forEach((bar, index) => {
      bar.forEach((value, plane) => {
        const at = (plane * layout.rows + 96) * layout.rowValues + Math.floor(((index + 0.5) * 320) / BARS.length);
        expect(Math.abs((values[at] ?? 0) - value), `bar ${index}, plane ${plane}`).toBeLessThan(0.008);
      });
    });
    // Outside the picture nothing was written.
    expect(values[320]).toBe(-7);
    expect(values[layout.rowValues * 192]).toBe(-7);
    expectBars(writer.write(values, layout, colour, 0, bars(16, 16, colour).trace), colour, 1.5);
    reader.close();
    writer.close();
  });

  it('comes back from an H264 stream that says so within 2 levels, as BT.601 limited', () => {
    const encoder = new Encoder({
      codec: 'H264',
      width: 320,
      height: 192,
      colour,
      bitrateBps: 4_000_000,
      framesPerSecond: 30,
      keyframeIntervalSeconds: 10,
      keyframeMaxRatio: 20,
    });
    const decoder = new Decoder({ codec: 'H264', maxPixels: 1e6 });
    const [packet] = encoder.encode(bars(320, 192, colour), true) as [EncodedPicture];
    const [picture] = decoder.decode({ codec: 'H264', ...packet, receivedAtUs: 0, assembledAtUs: 0 }) as [FramePicture];
    expect(picture.colour).toEqual(BT601);
    expectBars(picture, BT601, 2);
    encoder.close();
    decoder.close();
  });
});

it.each(['H264', 'VP8'] as const)('colour bars go through %s, x4 resize and encode again within 2 levels', (codec) => {
  const options = { codec, colour: BT601, framesPerSecond: 30, keyframeIntervalSeconds: 10, keyframeMaxRatio: 20 };
  const small = new Encoder({ ...options, width: 320, height: 192, bitrateBps: 3_000_000 });
  const large = new Encoder({ ...options, width: 1280, height: 768, bitrateBps: 8_000_000 });
  const decoder = new Decoder({ codec, maxPixels: 1e6 });
  const last = new Decoder({ codec, maxPixels: 4e6 });
  const scaler = new PictureScaler(1280, 768, 'lanczos');
  const unit = (encoded: EncodedPicture[]) => ({
    codec,
    ...(encoded[0] as EncodedPicture),
    receivedAtUs: 0,
    assembledAtUs: 0,
  });
  for (let number = 0; number < 5; number += 1) {
    const source = { ...bars(320, 192, BT601), mediaTime: number * 3000 };
    const [decoded] = decoder.decode(unit(small.encode(source, false))) as [FramePicture];
    const [result] = last.decode(unit(large.encode(scaler.scale(decoded), false))) as [FramePicture];
    expectBars(result, BT601, 2);
  }
  for (const { close } of [small, large, decoder, last, scaler].map((thing) => ({ close: () => thing.close() })))
    close();
});

it('believes the RTP header extension where VP8 cannot say its colour, until the next keyframe', () => {
  const sent: Colour = { matrix: 'bt709', range: 'full' };
  const options = {
    codec: 'VP8' as const,
    colour: BT601,
    framesPerSecond: 30,
    keyframeIntervalSeconds: 10,
    keyframeMaxRatio: 20,
  };
  const encoder = new Encoder({ ...options, width: 320, height: 192, bitrateBps: 3_000_000 });
  const decoder = new Decoder({ codec: 'VP8', maxPixels: 1e6 });
  const decode = (number: number, keyframe: boolean, colour: Colour | undefined): FramePicture => {
    const [packet] = encoder.encode({ ...bars(320, 192, sent), mediaTime: number * 3000 }, keyframe) as [
      EncodedPicture,
    ];
    const unit = { codec: 'VP8' as const, ...packet, receivedAtUs: 0, assembledAtUs: 0 };
    return decoder.decode(colour === undefined ? unit : { ...unit, colour })[0] as FramePicture;
  };
  expectBars(decode(0, true, sent), BT601, 2);
  expectBars(decode(1, false, undefined), BT601, 2);
  // The next keyframe does not say it any more: taken as it is.
  expectBars(decode(2, true, undefined), sent, 2);
  encoder.close();
  decoder.close();
});

it('clips model results outside 0..1 instead of wrapping around', () => {
  const writer = new RgbWriter(64, 64);
  const values = new Float32Array(3 * 64 * 64);
  values.fill(1.5, 0, 32 * 64);
  for (let plane = 0; plane < 3; plane += 1) {
    values.fill(1.7, plane * 4096, plane * 4096 + 2048);
    values.fill(-0.6, plane * 4096 + 2048, (plane + 1) * 4096);
  }
  const picture = writer.write(values, { rowValues: 64, rows: 64 }, BT601, 0, bars(16, 16, BT601).trace);
  expect([235, 236]).toContain(picture.y[5 * picture.yStride + 5]);
  expect(picture.y[60 * picture.yStride + 5]).toBe(16);
  writer.close();
});
