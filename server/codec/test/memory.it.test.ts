import { expect, it } from 'vitest';
import { Decoder } from '../decoder.ts';
import { Encoder } from '../encoder.ts';
import { RgbReader, RgbWriter } from '../rgb.ts';
import { PictureScaler } from '../scaler.ts';
import { BT601, makeStream } from '../../../testing/pictures.ts';

/**
 * Native memory does not show in V8's heap: what is watched is the process. The allocator keeps a pool for each thread that
 * ever freed memory, so the process grows in steps before it stays (seen: 20 MB at once after hundreds of rounds); a leak
 * grows in every part of the run. Hence the median of the parts: noise lifts one or two of them, one leaked 640x360
 * picture per round lifts each by 138 MB, one per codec opened by 27 MB.
 */
const WARM_UP = 300;
const PARTS = 5;
const PART_ROUNDS = 400;
const MAX_GROWTH_BYTES = 20e6;

/** The median growth of the process over a part of the run, bytes. */
async function growth(round: (index: number) => void): Promise<number> {
  const resident: number[] = [];
  for (let index = 0; index <= WARM_UP + PARTS * PART_ROUNDS; index += 1) {
    if (index >= WARM_UP && (index - WARM_UP) % PART_ROUNDS === 0) resident.push(process.memoryUsage().rss);
    round(index);
    // Finalizers of native objects run between turns only.
    if (index % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const grown = resident.slice(1).map((bytes, part) => bytes - (resident[part] ?? 0));
  return grown.sort((a, b) => a - b)[PARTS >> 1] ?? NaN;
}

const units = makeStream({ codec: 'H264', width: 160, height: 90, frames: 30 });
const unitAt = (index: number) => {
  const unit = units[index % units.length];
  if (unit === undefined) throw new Error('no unit');
  return { ...unit, mediaTime: index * 3000 };
};
const openEncoder = (codec: 'H264' | 'VP8') =>
  new Encoder({
    codec,
    width: 640,
    height: 360,
    colour: BT601,
    bitrateBps: 1e6,
    framesPerSecond: 30,
    keyframeIntervalSeconds: 10,
    keyframeMaxRatio: 8,
  });

it('decode, scale and encode thousands of frames in the same memory', async () => {
  const decoder = new Decoder({ codec: 'H264', maxPixels: 1e6 });
  const scaler = new PictureScaler(640, 360, 'lanczos');
  const encoder = openEncoder('H264');
  const grown = await growth((index) => {
    for (const picture of decoder.decode(unitAt(index))) {
      const result = scaler.scale(picture);
      picture.release();
      encoder.encode(result, index % 100 === 0);
      result.release();
    }
  });
  for (const close of [() => decoder.close(), () => scaler.close(), () => encoder.close()]) close();
  expect(grown).toBeLessThan(MAX_GROWTH_BYTES);
});

it('thousands of damaged units leave nothing behind', async () => {
  const decoder = new Decoder({ codec: 'H264', maxPixels: 1e6 });
  let errors = 0;
  const grown = await growth((index) => {
    const unit = unitAt(index);
    const data = new Uint8Array(unit.data.subarray(0, index % 2 === 0 ? undefined : unit.data.length >> 1));
    if (index % 2 === 1) data.fill(0xa5, 20);
    try {
      for (const picture of decoder.decode({ ...unit, data, keyframe: true })) picture.release();
    } catch {
      errors += 1;
    }
  });
  decoder.close();
  expect(errors).toBeGreaterThan((PARTS * PART_ROUNDS) / 4);
  expect(grown).toBeLessThan(MAX_GROWTH_BYTES);
});

it('encoders and decoders opened and closed hundreds of times leave nothing behind', async () => {
  const scaler = new PictureScaler(640, 360);
  const grown = await growth((index) => {
    if (index % 5 !== 0) return;
    const decoder = new Decoder({ codec: 'H264', maxPixels: 1e6 });
    const encoder = openEncoder(index % 2 === 0 ? 'H264' : 'VP8');
    for (const picture of decoder.decode(unitAt(0))) {
      const result = scaler.scale(picture);
      encoder.encode(result, false);
      picture.release();
      result.release();
    }
    decoder.close();
    encoder.close();
  });
  scaler.close();
  expect(grown).toBeLessThan(MAX_GROWTH_BYTES);
});

it('conversions to RGB and back stay in the same memory', async () => {
  const decoder = new Decoder({ codec: 'H264', maxPixels: 1e6 });
  const [picture] = decoder.decode(unitAt(0));
  if (picture === undefined) throw new Error('no picture');
  const reader = new RgbReader();
  const writer = new RgbWriter(160, 90);
  const values = new Float32Array(3 * 160 * 90);
  const layout = { rowValues: 160, rows: 90 };
  const grown = await growth((index) => {
    reader.read(picture, values, layout);
    // Both ways out: the direct one and the one for other colours.
    const colour = index % 2 === 0 ? BT601 : ({ matrix: 'bt709', range: 'limited' } as const);
    writer.write(values, layout, colour, 0, picture.trace).release();
  });
  for (const close of [() => decoder.close(), () => reader.close(), () => writer.close()]) close();
  expect(grown).toBeLessThan(MAX_GROWTH_BYTES);
});
