import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, expect, it } from 'vitest';
import { BT601, makePicture, lumaDifference } from '../../../../testing/pictures.ts';
import { AppError } from '../../../errors.ts';
import type { OnnxModel } from '../../spec.ts';
import type { UpscalerStream } from '../../upscaler.ts';
import { OnnxUpscaler } from '../upscaler.ts';
import { delayModel, nearestModel, onnxFile, planarModel } from '../../../../testing/onnx-file.ts';
import type { Picture } from '../../../media/picture.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'onnx-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const open: OnnxUpscaler[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((upscaler) => upscaler.close()));
});

let files = 0;
function model(content: Uint8Array, rest: Partial<OnnxModel> = {}): OnnxModel {
  files += 1;
  const file = path.join(folder, `${files}.onnx`);
  writeFileSync(file, content);
  return { file, label: `model ${files}`, valueRange: [0, 1], ...rest };
}

async function load(main: OnnxModel, fallbacks: readonly OnnxModel[] = []): Promise<OnnxUpscaler> {
  const upscaler = await OnnxUpscaler.load({ kind: 'onnx', model: main, fallbacks, threads: 1 });
  open.push(upscaler);
  return upscaler;
}

interface Opened {
  readonly stream: UpscalerStream;
  readonly results: Picture[];
  readonly errors: AppError[];
}

async function openStream(upscaler: OnnxUpscaler, width: number, height: number): Promise<Opened> {
  const results: Picture[] = [];
  const errors: AppError[] = [];
  const stream = await upscaler.openStream(
    { sourceWidth: width, sourceHeight: height },
    { onPicture: (picture) => results.push(picture), onError: (error) => errors.push(error) },
  );
  return { stream, results, errors };
}

/** Pushes one after the other, waiting for room. */
async function pushAll({ stream }: Opened, pictures: readonly Picture[]): Promise<void> {
  for (const picture of pictures) {
    while (!stream.ready) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(stream.push(picture)).toBe('accepted');
  }
  await stream.flush();
}

/** Grey ramps: chroma is neutral, so a nearest enlargement can be checked sample by sample. */
const ramp = (number: number, width = 64, height = 48): Picture =>
  makePicture(width, height, number * 3000, (x, y) => 16 + ((3 * x + 5 * y + 17 * number) % 220));

function enlarged(picture: Picture, scale: number): Picture {
  return makePicture(picture.width * scale, picture.height * scale, picture.mediaTime, (x, y) => {
    return picture.y[Math.floor(y / scale) * picture.yStride + Math.floor(x / scale)] ?? 0;
  });
}

it.each([
  { scale: 2, valueRange: [0, 1] as const },
  { scale: 4, valueRange: [0, 255] as const },
  { scale: 3, valueRange: [-1, 1] as const },
])('runs a x$scale model with values in $valueRange and finds its scale', async ({ scale, valueRange }) => {
  const upscaler = await load(model(nearestModel(scale), { valueRange }));
  expect(upscaler.info).toMatchObject({ kind: 'onnx', scale, superResolution: true, device: 'cpu' });
  const opened = await openStream(upscaler, 64, 48);
  const sources = [0, 1, 2, 3, 4].map((number) => ramp(number));
  await pushAll(opened, sources);
  expect(opened.errors).toEqual([]);
  expect(opened.results.map((picture) => picture.mediaTime)).toEqual(sources.map((picture) => picture.mediaTime));
  opened.results.forEach((result, index) => {
    expect([result.width, result.height]).toEqual([64 * scale, 48 * scale]);
    // To RGB and back costs less than a level.
    expect(lumaDifference(result, enlarged(sources[index] as Picture, scale))).toBeLessThan(0.6);
  });
});

it.each([['hidden', 'hidden_out'] as const, ['state_in_0', 'state_out_0'] as const])(
  'hands the state %s to the next frame and starts from zeros',
  async (input, output) => {
    const opened = await openStream(await load(model(delayModel(2, [input, output]))), 64, 48);
    const sources = [0, 1, 2].map((number) => ramp(number));
    await pushAll(opened, sources);
    const [first, second, third] = opened.results as [Picture, Picture, Picture];
    expect(first.y[0]).toBe(16);
    expect(lumaDifference(second, enlarged(sources[0] as Picture, 2))).toBeLessThan(0.6);
    expect(lumaDifference(third, enlarged(sources[1] as Picture, 2))).toBeLessThan(0.6);
  },
);

it('runs one frame at a time for all streams, and none of a stream that has been closed', async () => {
  const upscaler = await load(model(nearestModel(2)));
  const streams = await Promise.all(Array.from({ length: 20 }, () => openStream(upscaler, 64, 48)));
  let released = 0;
  for (const { stream } of streams) stream.push({ ...ramp(0), release: () => (released += 1) });
  const last = streams.at(-1) as Opened;
  for (const { stream } of streams.slice(0, -1)) void stream.close();
  // No message of the thread can have come yet: what waited has been given back without a run.
  await Promise.resolve();
  expect(released).toBe(18);
  await last.stream.flush();
  expect(released).toBe(20);
  expect(streams.map(({ results }) => results.length)).toEqual([...Array.from({ length: 19 }, () => 0), 1]);
  expect(streams.flatMap(({ errors }) => errors)).toEqual([]);
});

it('keeps the states of two streams apart and forgets them when a stream ends', async () => {
  const upscaler = await load(model(delayModel(2)));
  const a = await openStream(upscaler, 64, 48);
  const b = await openStream(upscaler, 96, 64);
  await pushAll(a, [ramp(0)]);
  await pushAll(b, [ramp(5, 96, 64)]);
  await pushAll(a, [ramp(1)]);
  await pushAll(b, [ramp(6, 96, 64)]);
  expect(lumaDifference(a.results[1] as Picture, enlarged(ramp(0), 2))).toBeLessThan(0.6);
  expect(lumaDifference(b.results[1] as Picture, enlarged(ramp(5, 96, 64), 2))).toBeLessThan(0.6);
  await a.stream.close();
  const again = await openStream(upscaler, 64, 48);
  await pushAll(again, [ramp(2)]);
  expect(again.results[0]?.y[0]).toBe(16);
});

it("pads to the model's multiple by repeating edges and crops back", async () => {
  const opened = await openStream(await load(model(nearestModel(2), { sizeMultiple: 16 })), 70, 50);
  await pushAll(opened, [ramp(0, 70, 50)]);
  const [result] = opened.results;
  expect([result?.width, result?.height]).toEqual([140, 100]);
  expect(lumaDifference(result as Picture, enlarged(ramp(0, 70, 50), 2))).toBeLessThan(0.6);
});

it('steps down to a fallback and to plain resize without losing or reordering a frame', async () => {
  const upscaler = await load(model(nearestModel(2)), [model(delayModel(2))]);
  expect(upscaler.info.rungs).toHaveLength(3);
  const opened = await openStream(upscaler, 64, 48);
  for (const rung of [0, 1, 2, 0]) {
    opened.stream.setRung(rung);
    const number = opened.results.length;
    await pushAll(opened, [ramp(number), ramp(number + 1)]);
  }
  expect(opened.results.map((picture) => picture.mediaTime / 3000)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(opened.results[2]?.y[0]).toBe(16); // the fallback's first frame: its state starts from zeros
  expect(lumaDifference(opened.results[4] as Picture, enlarged(ramp(4), 2))).toBeLessThan(12); // bicubic, not nearest
});

it('refuses pushes beyond its bound and says when it is closed', async () => {
  const { stream } = await openStream(await load(model(nearestModel(2))), 64, 48);
  const answers = [0, 1, 2, 3].map((number) => stream.push(ramp(number)));
  expect(answers).toEqual(['accepted', 'full', 'full', 'full']);
  await stream.close();
  await stream.close();
  expect(stream.push(ramp(9))).toBe('closed');
  await stream.flush();
});

const bad: readonly {
  readonly what: string;
  readonly content: Uint8Array;
  readonly message: RegExp;
  readonly rest?: Partial<OnnxModel>;
}[] = [
  { what: 'no ONNX at all', content: Buffer.from('this is not a model, it is a sentence'), message: /cannot load it/ },
  { what: 'an empty file', content: new Uint8Array(0), message: /cannot load it|no inputs|0 inputs/ },
  {
    what: 'one channel',
    content: nearestModel(2, { name: 'frame', shape: [1, 1, 'height', 'width'] }),
    message: /frame is no RGB picture.*Expected either one float32 input.*frame: float32 \[1, 1, height, width\]/,
  },
  {
    what: 'bytes instead of floats',
    content: onnxFile({
      inputs: [{ name: 'frame', shape: [1, 3, 'height', 'width'], type: 'uint8' }],
      outputs: [{ name: 'upscaled', shape: [1, 3, 'height', 'width'], type: 'uint8' }],
      nodes: [{ op: 'Identity', inputs: ['frame'], outputs: ['upscaled'] }],
    }),
    message: /uint8 \[1, 3/,
  },
  { what: 'a scale that is not whole', content: nearestModel(1.5), message: /64x64 picture gave \[1, 3, 96, 96\]/ },
  {
    what: 'another scale than promised',
    content: nearestModel(2),
    message: /manifest says scale 4/,
    rest: { scale: 4 },
  },
  {
    what: 'a state that is not there',
    content: nearestModel(2),
    message: /recurrent state memory is no input/,
    rest: { recurrentState: [{ input: 'memory', output: 'memory_out' }] },
  },
];

it.each(bad)('refuses a model with $what and says what was expected', async ({ content, message, rest }) => {
  const failure: unknown = await load(model(content, rest)).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(AppError);
  expect((failure as AppError).code).toBe('model.invalid');
  expect((failure as AppError).message).toMatch(message);
});

it('refuses a stream of another size than the file fixes', async () => {
  const upscaler = await load(model(nearestModel(2, { name: 'frame', shape: [1, 3, 48, 64] })));
  await expect(openStream(upscaler, 320, 180)).rejects.toThrow(/takes frames of 64x48 only; this video is 320x180/);
  const opened = await openStream(upscaler, 64, 48);
  await pushAll(opened, [ramp(0)]);
  expect(opened.results).toHaveLength(1);
});

it('steps down to a model of a smaller scale and keeps the size of the result', async () => {
  const upscaler = await load(model(nearestModel(4)), [model(nearestModel(2)), model(planarModel(2))]);
  expect(upscaler.info.scale).toBe(4);
  expect(upscaler.info.rungs).toHaveLength(4);
  const opened = await openStream(upscaler, 64, 48);
  for (const rung of [0, 1, 2, 3, 0]) {
    opened.stream.setRung(rung);
    await pushAll(opened, [ramp(opened.results.length)]);
  }
  expect(opened.errors).toEqual([]);
  expect(opened.results.map(({ width, height }) => `${width}x${height}`)).toEqual(Array(5).fill('256x192'));
  // x2 by the model, then x2 by a resize: between nearest and bicubic.
  expect(lumaDifference(opened.results[1] as Picture, enlarged(ramp(1), 4))).toBeLessThan(12);
});

it('begins with a smaller scale, or a resize, when a source would become too large', async () => {
  const upscaler = await load(model(nearestModel(4)), [model(nearestModel(2))]);
  const open = async (maxResultPixels: number): Promise<Opened> => {
    const results: Picture[] = [];
    const stream = await upscaler.openStream(
      { sourceWidth: 64, sourceHeight: 48, maxResultPixels },
      { onPicture: (picture) => results.push(picture), onError: (error) => expect(error).toBeUndefined() },
    );
    const opened = { stream, results, errors: [] };
    await pushAll(opened, [ramp(0)]);
    return opened;
  };
  const whole = await open(256 * 192);
  expect([whole.stream.firstRung, whole.results[0]?.width, whole.results[0]?.height]).toEqual([0, 256, 192]);
  const half = await open(256 * 192 - 1);
  expect([half.stream.firstRung, half.results[0]?.width, half.results[0]?.height]).toEqual([1, 128, 96]);
  expect(lumaDifference(half.results[0] as Picture, enlarged(ramp(0), 2))).toBeLessThan(0.6);
  const none = await open(100 * 75);
  expect([none.stream.firstRung, none.results[0]?.width, none.results[0]?.height]).toEqual([2, 100, 76]);
});

it('refuses a fallback of a larger scale', async () => {
  await expect(load(model(nearestModel(2)), [model(nearestModel(4))])).rejects.toThrow(/may not have a larger one/);
});

it.each([
  [64, 48],
  [70, 50],
])('runs a planar uint8 model on %dx%d without touching a sample, with its state', async (width, height) => {
  const upscaler = await load(model(planarModel(4)));
  expect(upscaler.info.scale).toBe(4);
  const opened = await openStream(upscaler, width, height);
  const sources = [0, 1, 2].map((number) =>
    makePicture(width, height, number * 3000, (x, y) => (x * 7 + y * 3 + number) % 256, [100 + number, 200 - number]),
  );
  await pushAll(opened, sources);
  expect(opened.errors).toEqual([]);
  opened.results.forEach((result, number) => {
    expect([result.width, result.height, result.mediaTime]).toEqual([width * 4, height * 4, number * 3000]);
    expect(lumaDifference(result, enlarged(sources[number] as Picture, 4))).toBe(0);
    // Chroma is the frame before's: zeros, then 100 and 200, then 101 and 199.
    const last = result.uvStride * (((height * 4 + 1) >> 1) - 1);
    expect([result.u[0], result.v[0], result.u[last], result.v[last]]).toEqual(
      number === 0 ? [0, 0, 0, 0] : [99 + number, 201 - number, 99 + number, 201 - number],
    );
  });
});

it('reuses the memory of released results and never that of held ones', async () => {
  const opened = await openStream(await load(model(planarModel(2))), 64, 48);
  await pushAll(opened, [ramp(0), ramp(1)]);
  const [first, second] = opened.results as [Picture, Picture];
  expect(first.y.buffer).not.toBe(second.y.buffer);
  const kept = second.y.slice();
  first.release?.();
  first.release?.();
  await pushAll(opened, [ramp(2), ramp(3)]);
  expect(second.y).toEqual(kept);
  expect(new Set(opened.results.slice(1).map((picture) => picture.y.buffer)).size).toBe(3);
});

it('keeps the colour of its source', async () => {
  const opened = await openStream(await load(model(nearestModel(2))), 64, 48);
  const bt709 = { matrix: 'bt709', range: 'full' } as const;
  await pushAll(opened, [
    makePicture(64, 48, 0, () => 120, [90, 200], BT601),
    makePicture(64, 48, 3000, () => 120, [90, 200], bt709),
  ]);
  for (const result of opened.results) {
    expect([result.y[1000], result.u[500], result.v[500]].map((value) => Math.round((value ?? 0) / 2))).toEqual([
      60, 45, 100,
    ]);
  }
  expect(opened.results.map((result) => result.colour)).toEqual([BT601, bt709]);
});

it('loads a file with the stated sha256 and refuses any other', async () => {
  const content = planarModel(4);
  const sha256 = createHash('sha256').update(content).digest('hex');
  expect((await load(model(content, { sha256 }))).info.scale).toBe(4);
  const other = content.slice();
  other[other.length - 1] = (other[other.length - 1] ?? 0) ^ 1;
  const damaged = await load(model(other, { sha256 })).catch((error: unknown) => error);
  expect(damaged).toBeInstanceOf(AppError);
  expect(damaged).toMatchObject({ code: 'model.invalid' });
  expect((damaged as AppError).message).toContain(`its manifest says ${sha256}`);
});
