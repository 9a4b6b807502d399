import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../../errors.ts';
import { importOfficial } from '../../../models/import.ts';
import { createUpscaler } from '../../create-upscaler.ts';
import { resolveModel } from '../../../models/resolve.ts';
import type { Upscaler, UpscalerStream } from '../../upscaler.ts';
import { loadAddon } from '../binding.ts';
import type { FlashVsrSpec } from '../../spec.ts';
import { sparseRatios } from '../upscaler.ts';
import { configSchema } from '../../../config/config.ts';
import { GOLDEN_WEIGHTS, HAVE_ADDON, ramp } from '../../../../testing/micro-flashvsr.ts';
import { until } from '../../../../testing/until.ts';
import type { Picture } from '../../../media/picture.ts';
import { FLASHVSR_SETTINGS } from '../../../../testing/flashvsr-settings.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'flashvsr-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SPEC: FlashVsrSpec = {
  kind: 'flashvsr',
  model: { kind: 'synthetic', path: 'micro' },
  label: 'FlashVSR (test)',
  device: 'reference',
  ...FLASHVSR_SETTINGS,
};

const upscalers: Upscaler[] = [];
afterEach(async () => {
  await Promise.all(upscalers.splice(0).map((upscaler) => upscaler.close()));
});

async function load(spec: FlashVsrSpec = SPEC): Promise<Upscaler> {
  const upscaler = await createUpscaler(spec);
  upscalers.push(upscaler);
  return upscaler;
}

interface Opened {
  readonly stream: UpscalerStream;
  readonly results: Picture[];
  readonly errors: AppError[];
}

async function openStream(upscaler: Upscaler, width = 32, height = 32): Promise<Opened> {
  const results: Picture[] = [];
  const errors: AppError[] = [];
  const stream = await upscaler.openStream(
    { sourceWidth: width, sourceHeight: height },
    { onPicture: (picture) => results.push(picture), onError: (error) => errors.push(error) },
  );
  return { stream, results, errors };
}

async function pushWhenReady({ stream }: Opened, picture: Picture): Promise<void> {
  await until(() => stream.ready, 'room in the stream');
  expect(stream.push(picture)).toBe('accepted');
}

const times = (pictures: readonly Picture[]): number[] => pictures.map((picture) => picture.mediaTime / 3000);
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

it('steps the sparse ratio down by quarters', () => {
  expect(sparseRatios(2)).toEqual([2, 1.5, 1]);
});

describe.skipIf(!HAVE_ADDON)('the FlashVSR upscaler', () => {
  it('upscales with an imported model, found by its name: every picture once, in order, with time, trace and colour', async () => {
    await importOfficial({ from: GOLDEN_WEIGHTS, name: 'golden', variant: 'v1.1', modelsFolder: folder });
    const config = configSchema.parse({ model: { name: 'golden', device: 'cpu' } });
    const spec = await resolveModel(config, [folder]);
    const model = { kind: 'imported', path: path.join(folder, 'golden', 'model.safetensors') };
    expect(spec).toMatchObject({ kind: 'flashvsr', device: 'reference', model });
    const upscaler = await load(spec as FlashVsrSpec);
    expect(upscaler.info).toMatchObject({
      kind: 'flashvsr',
      superResolution: true,
      chunkFrames: 8,
      lookAheadFrames: 4,
    });
    expect(upscaler.info.rungs).toEqual(['sparse ratio 2', 'sparse ratio 1.5', 'sparse ratio 1', 'bicubic resize']);
    const opened = await openStream(upscaler);
    const { stream, results, errors } = opened;
    expect([stream.outputWidth, stream.outputHeight]).toEqual([128, 128]);
    const pictures = range(0, 19).map((number) => ramp(number));
    let released = 0;
    for (const picture of pictures) await pushWhenReady(opened, { ...picture, release: () => (released += 1) });
    await stream.flush();
    expect(times(results)).toEqual(range(0, 19));
    expect(released).toBe(19);
    expect(stream.pending).toBe(0);
    expect(stream.busyUs).toBeGreaterThan(0);
    expect(errors).toEqual([]);
    results.forEach((result, index) => {
      expect(result.trace).toBe(pictures[index]?.trace);
      expect(result.trace.upscaledAtUs).toBeGreaterThan(0);
      expect(result.colour).toEqual({ matrix: 'bt601', range: 'limited' });
      expect([result.y.length, result.u.length, result.v.length]).toEqual([128 * 128, 64 * 64, 64 * 64]);
    });
  });

  it('makes files with the Wan2.1 decoder, of models that hold it; live only where it was measured to be fast enough', async () => {
    const wan: FlashVsrSpec = { ...SPEC, model: { kind: 'synthetic', path: 'micro-wan' }, decoder: 'wan' };
    const files = { coldStartFrames: 25, gatherDeadlineMs: 0 };
    const pictures = range(0, 9).map((number) => ramp(number));
    const resultOf = async (spec: FlashVsrSpec): Promise<readonly Picture[]> => {
      const opened = await openStream(await load(spec));
      for (const picture of pictures) await pushWhenReady(opened, picture);
      await opened.stream.flush();
      expect(opened.errors).toEqual([]);
      return opened.results;
    };
    const full = await resultOf({ ...wan, ...files });
    const tiny = await resultOf({ ...wan, ...files, decoder: 'tiny' });
    expect(times(full)).toEqual(range(0, 9));
    expect(full.map(({ y }) => Buffer.from(y).equals(Buffer.from(tiny[0]?.y ?? [])))).not.toContain(true);
    await expect(load({ ...SPEC, ...files, decoder: 'wan' })).rejects.toThrow(/holds no Wan2.1 decoder/);
    await expect(load(wan)).rejects.toMatchObject({
      code: 'model.device',
      message: /needs 25 frames\/s; it was not measured/,
    });
  });

  it('keeps the colour of files that are not BT.601', async () => {
    const opened = await openStream(await load());
    const colour = { matrix: 'bt709', range: 'full' } as const;
    for (const number of range(0, 6)) await pushWhenReady(opened, ramp(number, 32, 32, { colour }));
    await opened.stream.flush();
    expect(times(opened.results)).toEqual(range(0, 6));
    expect(opened.results.every((result) => result.colour.matrix === 'bt709' && result.colour.range === 'full')).toBe(
      true,
    );
    expect(opened.errors).toEqual([]);
  });

  it('steps down to plain resize and up again without losing, repeating or reordering a picture', async () => {
    const opened = await openStream(await load());
    const { stream, results, errors } = opened;
    for (const number of range(0, 10)) await pushWhenReady(opened, ramp(number));
    stream.setRung(2);
    for (const number of range(10, 14)) await pushWhenReady(opened, ramp(number));
    stream.setRung(3);
    for (const number of range(14, 20)) await pushWhenReady(opened, ramp(number));
    stream.setRung(0);
    for (const number of range(20, 30)) await pushWhenReady(opened, ramp(number));
    await stream.flush();
    expect(times(results)).toEqual(range(0, 30));
    expect(errors).toEqual([]);
    // The last rung is a resize, which a chunk of the network is not: both were at work.
    const mean = (picture: Picture | undefined): number =>
      (picture?.y.reduce((sum, level) => sum + level, 0) ?? 0) / (picture?.y.length ?? 1);
    expect(results.every((result) => result.width === 128 && mean(result) > 16)).toBe(true);
  });

  it('holds no more than a live stream may: "full" instead of delay', async () => {
    const { stream, results } = await openStream(await load());
    let accepted = 0;
    for (const number of range(0, 100)) if (stream.push(ramp(number)) === 'accepted') accepted += 1;
    expect(accepted).toBe(24);
    expect(stream.ready).toBe(false);
    await stream.flush();
    expect(results.length).toBe(24);
    expect(stream.ready).toBe(true);
  });

  it('reports a bad picture as lost and goes on; the wrong spec is an AppError', async () => {
    const opened = await openStream(await load());
    await pushWhenReady(opened, ramp(0));
    await pushWhenReady(opened, { ...ramp(1), y: new Uint8Array(10) });
    await pushWhenReady(opened, ramp(2));
    await opened.stream.flush();
    expect(times(opened.results)).toEqual([0, 2]);
    expect(opened.errors.map((error) => error.scope)).toEqual(['frame']);
    const missing = { kind: 'imported', path: path.join(folder, 'none.safetensors') } as const;
    for (const bad of [{ model: missing }, { device: 'cuda' as const }, { scale: 99 }]) {
      const error: unknown = await load({ ...SPEC, ...bad })
        .then((upscaler) => openStream(upscaler))
        .then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
      expect(error).toBeInstanceOf(AppError);
    }
  });

  it('closing in the middle releases what waits and is final, for streams and for the upscaler', async () => {
    const upscaler = await load();
    const [first, second] = await Promise.all([openStream(upscaler), openStream(upscaler)]);
    let released = 0;
    for (const number of range(0, 20)) {
      first.stream.push(ramp(number, 32, 32, { release: () => (released += 1) }));
      second.stream.push(ramp(number));
    }
    first.stream.setRung(3);
    first.stream.push(ramp(20, 32, 32, { release: () => (released += 1) }));
    const flushed = first.stream.flush();
    await first.stream.close();
    await flushed;
    expect(released).toBe(21);
    expect(first.stream.push(ramp(21))).toBe('closed');
    const results = first.results.length;
    await Promise.all([upscaler.close(), upscaler.close()]);
    expect(second.stream.push(ramp(21))).toBe('closed');
    expect(first.results.length).toBe(results);
    expect(loadAddon().openEngines()).toBe(0);
    expect([...first.errors, ...second.errors]).toEqual([]);
  });
});
