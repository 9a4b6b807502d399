import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import type { AccessUnit, ResultCodec } from '../../media/types.ts';
import { Decoder } from '../decoder.ts';
import type { FramePicture } from '../frame-picture.ts';
import { lumaDifference, makePicture, makeStream, movingBar } from '../../../testing/pictures.ts';

const open: Decoder[] = [];
afterEach(() => {
  for (const decoder of open.splice(0)) decoder.close();
});

function decoderFor(codec: ResultCodec, maxPixels = 1920 * 1088): Decoder {
  const decoder = new Decoder({ codec, maxPixels });
  open.push(decoder);
  return decoder;
}

function failure(action: () => unknown): AppError {
  try {
    action();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Reproducible noise (mulberry32). */
function noise(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function withData(unit: AccessUnit, data: Uint8Array): AccessUnit {
  return { ...unit, data };
}

describe.each(['H264', 'VP8'] as const)('%s', (codec) => {
  it('gives every picture in the call that brought its unit, with its time, trace and content', () => {
    const decoder = decoderFor(codec);
    makeStream({ codec, width: 320, height: 180, frames: 12, firstMediaTime: 5_000_000_000 }).forEach(
      (unit, number) => {
        const [picture, ...more] = decoder.decode(unit);
        expect(more).toEqual([]);
        expect(picture?.mediaTime).toBe(unit.mediaTime);
        expect(picture?.trace.receivedAtUs).toBe(unit.receivedAtUs);
        expect(picture?.trace.decodedAtUs).toBeGreaterThan(unit.assembledAtUs);
        expect(picture?.colour).toEqual({ matrix: 'bt601', range: 'limited' });
        const original = makePicture(320, 180, 0, movingBar(number, 320));
        expect(lumaDifference(picture as FramePicture, original)).toBeLessThan(4);
        picture?.release();
      },
    );
  });

  it.each([
    [321, 181],
    [319, 177],
    [98, 54],
  ])('decodes %dx%d (H264 streams have even sides)', (width, height) => {
    const [unit] = makeStream({ codec, width, height, frames: 1 });
    const [picture] = decoderFor(codec).decode(unit as AccessUnit);
    expect([picture?.width, picture?.height]).toEqual([width & ~1, height & ~1]);
  });

  it('follows a change of resolution at a keyframe without missing a picture', () => {
    const decoder = decoderFor(codec);
    const units = [
      ...makeStream({ codec, width: 320, height: 180, frames: 4 }),
      ...makeStream({ codec, width: 640, height: 360, frames: 4, firstMediaTime: 90_000 }),
      ...makeStream({ codec, width: 160, height: 90, frames: 4, firstMediaTime: 180_000 }),
    ];
    const widths = units.map((unit) => decoder.decode(unit).map((picture) => picture.width));
    expect(widths.flat()).toEqual([
      ...Array<number>(4).fill(320),
      ...Array<number>(4).fill(640),
      ...Array<number>(4).fill(160),
    ]);
  });

  it('refuses pictures above the limit by name and size, and recovers with smaller ones', () => {
    const decoder = decoderFor(codec, 320 * 192);
    const [large] = makeStream({ codec, width: 640, height: 360, frames: 1 });
    const error = failure(() => decoder.decode(large as AccessUnit));
    expect(error.code).toBe('media.unsupported');
    expect(error.message).toContain('640x360');
    expect(error.message).toContain(String(320 * 192));
    const [small] = makeStream({ codec, width: 320, height: 180, frames: 1 });
    expect(decoder.decode(small as AccessUnit)).toHaveLength(1);
  });

  it('waits for a keyframe at the start and after every error', () => {
    const decoder = decoderFor(codec);
    const [key, delta, second] = makeStream({ codec, width: 320, height: 180, frames: 3 }) as [
      AccessUnit,
      AccessUnit,
      AccessUnit,
    ];
    expect(decoder.awaitingKeyframe).toBe(true);
    expect(failure(() => decoder.decode(delta)).code).toBe('media.decode');
    expect(decoder.decode(key)).toHaveLength(1);
    expect(decoder.awaitingKeyframe).toBe(false);
    expect(failure(() => decoder.decode(withData(delta, new Uint8Array(0)))).code).toBe('media.decode');
    expect(decoder.awaitingKeyframe).toBe(true);
    expect(failure(() => decoder.decode(second)).code).toBe('media.decode');
    expect(decoder.decode(key)).toHaveLength(1);
  });

  it('survives garbage of every length, cut and flipped units, and decodes the next clean keyframe', () => {
    const decoder = decoderFor(codec);
    const units = makeStream({ codec, width: 320, height: 180, frames: 6 });
    const [key] = units as [AccessUnit];
    const random = noise(7);
    for (let round = 0; round < 300; round += 1) {
      const unit = units[round % units.length] as AccessUnit;
      const damaged = new Uint8Array(unit.data);
      if (round % 3 === 0) damaged.forEach((_, index) => (damaged[index] = Math.floor(random() * 256)));
      else
        for (let flips = 0; flips < 8; flips += 1)
          damaged[Math.floor(random() * damaged.length)] = Math.floor(random() * 256);
      const cut = round % 2 === 0 ? damaged : damaged.subarray(0, Math.floor(random() * damaged.length));
      try {
        for (const picture of decoder.decode({ ...unit, data: cut, keyframe: true, mediaTime: round * 3000 }))
          picture.release();
      } catch (error) {
        expect(error).toBeInstanceOf(AppError);
        expect(['media.decode', 'media.unsupported']).toContain((error as AppError).code);
      }
    }
    decoder.reset();
    const pictures = decoder.decode({ ...key, mediaTime: 10_000_000 });
    expect(pictures).toHaveLength(1);
    expect(lumaDifference(pictures[0] as FramePicture, makePicture(320, 180, 0, movingBar(0, 320)))).toBeLessThan(4);
  });

  it('returns nothing after close, and may be closed twice', () => {
    const decoder = decoderFor(codec);
    const [unit] = makeStream({ codec, width: 320, height: 180, frames: 1 });
    decoder.close();
    decoder.close();
    expect(decoder.decode(unit as AccessUnit)).toEqual([]);
  });
});

it.each([
  [16, 16383, /16x16383; at least 16x16 is needed, and a side may have at most 4096 pixels and be 16 times the other/],
  [4100, 400, /4100x400;/],
  [1024, 48, /1024x48;/],
  [640, 8, /640x8; at least 16x16/],
])('refuses a VP8 keyframe that says %dx%d before a decoder sees it, and says why', (width, height, message) => {
  const [unit] = makeStream({ codec: 'VP8', width: 64, height: 64, frames: 1 }) as [AccessUnit];
  // RFC 6386 section 9.1: 14 bits of width, then of height.
  const data = Uint8Array.from(unit.data);
  new DataView(data.buffer).setUint16(6, width, true);
  new DataView(data.buffer).setUint16(8, height, true);
  const error = failure(() => decoderFor('VP8').decode(withData(unit, data)));
  expect([error.code, error.scope]).toEqual(['media.unsupported', 'stream']);
  expect(error.message).toMatch(message);
});

it.each([
  [4096, 256],
  [256, 4096],
  [16, 256],
])('takes %dx%d, the widest there is', (width, height) => {
  const [unit] = makeStream({ codec: 'VP8', width, height, frames: 1 }) as [AccessUnit];
  const [picture] = decoderFor('VP8').decode(unit);
  expect([picture?.width, picture?.height]).toEqual([width, height]);
  picture?.release();
});

it('keeps pictures valid after the decoder is closed and frees them on release', () => {
  const decoder = decoderFor('H264');
  const [unit] = makeStream({ codec: 'H264', width: 320, height: 180, frames: 1 });
  const [picture] = decoder.decode(unit as AccessUnit) as [FramePicture];
  decoder.close();
  expect(lumaDifference(picture, makePicture(320, 180, 0, movingBar(0, 320)))).toBeLessThan(4);
  picture.release();
  picture.release();
  expect(() => picture.y).toThrow(/after it was released/);
});
