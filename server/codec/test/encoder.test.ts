import { afterEach, describe, expect, it } from 'vitest';
import { Decoder } from '../decoder.ts';
import { Encoder, type EncodedPicture, type EncoderOptions } from '../encoder.ts';
import type { FramePicture } from '../frame-picture.ts';
import { h264LevelFor } from '../../media/h264-level.ts';
import { textPage } from '../../../testing/drawn-pages.ts';
import { BT601, lumaDifference, makePicture, movingBar } from '../../../testing/pictures.ts';

const open: Encoder[] = [];
afterEach(() => {
  for (const encoder of open.splice(0)) encoder.close();
});

function encoderFor(options: Partial<EncoderOptions> & Pick<EncoderOptions, 'codec'>): Encoder {
  const encoder = new Encoder({
    width: 320,
    height: 180,
    bitrateBps: 600_000,
    colour: BT601,
    framesPerSecond: 30,
    keyframeIntervalSeconds: 60,
    keyframeMaxRatio: 8,
    ...options,
  });
  open.push(encoder);
  return encoder;
}

/** Waves that drift through each other, and grain: the rate control has something to do, and no picture repeats. */
const busy =
  (number: number) =>
  (x: number, y: number): number => {
    const waves = 60 * Math.sin((x + 3 * number) / 9) * Math.cos((y - 2 * number) / 7);
    return Math.round(126 + waves + ((x * 31 + y * 17 + number * 13) % 29));
  };

interface Run {
  readonly frames: number;
  readonly framesPerSecond?: number;
  readonly from?: number;
  readonly keyframes?: readonly number[];
}

function run(encoder: Encoder, { frames, framesPerSecond = 30, from = 0, keyframes = [] }: Run): EncodedPicture[] {
  return Array.from({ length: frames }, (_, index) => from + index).flatMap((number) => {
    const mediaTime = Math.round((number * 90_000) / framesPerSecond);
    return encoder.encode(
      makePicture(encoder.width, encoder.height, mediaTime, busy(number)),
      keyframes.includes(number),
    );
  });
}

const bitsPerSecond = (encoded: readonly EncodedPicture[], framesPerSecond: number): number =>
  (encoded.reduce((sum, { data }) => sum + data.length, 0) * 8 * framesPerSecond) / encoded.length;

/** Types of the NAL units in an Annex B stream (ITU-T H.264 7.4.1). */
function nalTypes(data: Uint8Array): number[] {
  const types: number[] = [];
  for (let index = 0; index + 3 < data.length; index += 1) {
    if (data[index] === 0 && data[index + 1] === 0 && data[index + 2] === 1) types.push((data[index + 3] ?? 0) & 31);
  }
  return types;
}

describe.each(['H264', 'VP8'] as const)('%s', (codec) => {
  it('gives one packet for one picture, keyframes first and on demand only', () => {
    const encoded = run(encoderFor({ codec }), { frames: 40, keyframes: [17, 30] });
    expect(encoded.map((packet) => packet.mediaTime)).toEqual(Array.from({ length: 40 }, (_, index) => index * 3000));
    expect(encoded.flatMap((packet, index) => (packet.keyframe ? [index] : []))).toEqual([0, 17, 30]);
  });

  it('makes a keyframe at the interval as a safety net', () => {
    const encoded = run(encoderFor({ codec, keyframeIntervalSeconds: 0.5 }), { frames: 40 });
    expect(encoded.flatMap((packet, index) => (packet.keyframe ? [index] : []))).toEqual([0, 15, 30]);
  });

  it.each([600_000, 900_000])('keeps to %d bit/s', (bitrateBps) => {
    const encoded = run(encoderFor({ codec, bitrateBps }), { frames: 150 }).slice(60);
    expect(bitsPerSecond(encoded, 30) / bitrateBps).toBeGreaterThan(0.6);
    expect(bitsPerSecond(encoded, 30) / bitrateBps).toBeLessThan(1.25);
  });

  it('spends on a still page what it is worth, far below the rate, and shows it well', () => {
    const encoder = encoderFor({ codec, bitrateBps: 2_500_000 });
    const page = textPage(320, 180);
    const pictures = Array.from({ length: 60 }, (_, number) => makePicture(320, 180, number * 3000, page));
    const encoded = pictures.flatMap((picture) => encoder.encode(picture, false));
    expect(bitsPerSecond(encoded.slice(30), 30)).toBeLessThan(2_500_000 / 12);
    const decoder = new Decoder({ codec, maxPixels: 1e6 });
    const shown = encoded.flatMap((each) => decoder.decode({ codec, ...each, receivedAtUs: 0, assembledAtUs: 0 }));
    expect(lumaDifference(shown.at(-1) as FramePicture, pictures[0] as FramePicture)).toBeLessThan(1.5);
    decoder.close();
  });

  it('follows a bit rate changed while it runs, down and up', () => {
    const encoder = encoderFor({ codec, bitrateBps: 900_000 });
    run(encoder, { frames: 90 });
    encoder.setBitrate(400_000);
    const low = run(encoder, { frames: 120, from: 90 }).slice(60);
    encoder.setBitrate(900_000);
    const high = run(encoder, { frames: 150, from: 210 }).slice(90);
    expect(bitsPerSecond(low, 30)).toBeLessThan(560_000);
    expect(bitsPerSecond(high, 30)).toBeGreaterThan(600_000);
    expect(encoder.bitrateBps).toBe(900_000);
  });

  it('keeps to the rate when pictures come at half the nominal rate', () => {
    const encoded = run(encoderFor({ codec }), { frames: 90, framesPerSecond: 15 }).slice(30);
    expect(bitsPerSecond(encoded, 15) / 600_000).toBeGreaterThan(0.5);
    expect(bitsPerSecond(encoded, 15) / 600_000).toBeLessThan(1.3);
  });

  it('bounds a keyframe by the ratio to the average frame', () => {
    const bitrateBps = 600_000;
    const averageBytes = bitrateBps / 30 / 8;
    const encoded = run(encoderFor({ codec, bitrateBps, keyframeMaxRatio: 5 }), {
      frames: 90,
      keyframes: [45, 60, 75],
    });
    for (const { data, keyframe } of encoded) {
      // A tenth of slack: x264 overshoots a full buffer rather than break off a picture.
      if (keyframe) expect(data.length / averageBytes).toBeLessThan(5 * 1.1);
    }
  });

  it('crops the last column and row of odd sizes', () => {
    const encoder = encoderFor({ codec, width: 321, height: 181 });
    expect([encoder.width, encoder.height]).toEqual([320, 180]);
    const [packet] = encoder.encode(makePicture(321, 181, 0, movingBar(0, 321)), false) as [EncodedPicture];
    const decoder = new Decoder({ codec, maxPixels: 1e6 });
    const [picture] = decoder.decode({ codec, ...packet, receivedAtUs: 0, assembledAtUs: 0 }) as [FramePicture];
    expect([picture.width, picture.height]).toEqual([320, 180]);
    expect(lumaDifference(picture, makePicture(320, 180, 0, movingBar(0, 321)))).toBeLessThan(4);
    decoder.close();
  });

  it('skips pictures whose time stands still or runs back', () => {
    const encoder = encoderFor({ codec });
    const times = [0, 3000, 3000, 1000, 6000];
    const encoded = times.flatMap((time) => encoder.encode(makePicture(320, 180, time), false));
    expect(encoded.map((packet) => packet.mediaTime)).toEqual([0, 3000, 6000]);
  });

  it('names sizes that do not fit', () => {
    expect(() => encoderFor({ codec, width: 8, height: 8 })).toThrow(/8x8 picture is too small/);
    expect(() => encoderFor({ codec }).encode(makePicture(64, 64, 0), false)).toThrow(/64x64 .* 320x180 encoder/);
  });
});

it('writes constrained baseline with the right level, parameter sets before every IDR, and the colour', () => {
  const encoded = run(encoderFor({ codec: 'H264' }), { frames: 6, keyframes: [3] });
  for (const { data, keyframe } of encoded) {
    const types = nalTypes(data);
    expect(types.includes(5)).toBe(keyframe);
    if (!keyframe) continue;
    expect(types).toEqual(expect.arrayContaining([7, 8]));
    const sps = data.findIndex((byte, index) => byte === 1 && (data[index + 1] ?? 0) === 0x67);
    const [profile, constraints, level] = data.subarray(sps + 2, sps + 5);
    expect(profile).toBe(66);
    expect((constraints ?? 0) & 0x40).toBe(0x40);
    expect(level).toBe(h264LevelFor(320, 180, 30, 600_000));
  }
});

it('raises the level once when pictures come faster than announced, and never for slower ones', () => {
  const levels = (framesPerSecond: number): number[] => {
    const encoder = encoderFor({ codec: 'H264', width: 640, height: 480 });
    return run(encoder, { frames: 45, framesPerSecond })
      .filter(({ keyframe }) => keyframe)
      .map(({ data }) => data[data.findIndex((byte, at) => byte === 1 && (data[at + 1] ?? 0) === 0x67) + 4] ?? 0);
  };
  expect(levels(30)).toEqual([30]);
  expect(levels(10)).toEqual([30]);
  expect(levels(60)).toEqual([30, 31]);
});
