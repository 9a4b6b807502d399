import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configSchema, type Config } from '../../config/config.ts';
import { AppError } from '../../errors.ts';
import { availableModels, modelHelp } from '../catalogue.ts';
import { resolveModel, type Machine } from '../resolve.ts';
import type { UpscalerSpec } from '../../upscalers/spec.ts';

const root = mkdtempSync(path.join(tmpdir(), 'resolve-test-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function addModel(folder: string, manifest: unknown, files: readonly string[] = ['model.onnx']): string {
  const place = path.join(root, folder);
  mkdirSync(place, { recursive: true });
  for (const file of files) writeFileSync(path.join(place, file), 'x');
  if (manifest !== undefined)
    writeFileSync(
      path.join(place, 'manifest.json'),
      typeof manifest === 'string' ? manifest : JSON.stringify(manifest),
    );
  return place;
}

const SHA256 = 'ab'.repeat(32);
const onnx = (name: string, scale: number, rest: object = {}): object => ({
  name,
  kind: 'onnx',
  file: 'model.onnx',
  scale,
  ...rest,
});
/** As the importer writes it. */
const imported = (name: string, rest: object = {}): object => ({
  kind: 'flashvsr',
  formatVersion: 1,
  name,
  variant: 'v1.1',
  origin: 'test',
  licence: 'Apache-2.0',
  createdAt: '2026-11-30T00:00:00.000Z',
  file: 'model.safetensors',
  bytes: 1,
  sha256: SHA256,
  sources: [],
  ...rest,
});
const state = { input: 'hidden', output: 'hidden_out', channels: 16 };

addModel('mini', onnx('mini', 4, { label: 'mini x4' }));
addModel(
  'nano',
  onnx('nano', 4, {
    auto: true,
    fallbacks: ['mini'],
    label: 'nano x4',
    recurrentState: [state],
    sha256: SHA256,
    licence: 'Apache-2.0',
  }),
);
// Its folder says nothing about its scale: the manifest does.
addModel('nano-x2', onnx('nano-x2', 2, { auto: true }));
addModel('short-hash', onnx('short-hash', 4, { sha256: 'abc' }));
addModel('range', onnx('range', 3, { valueRange: [0, 255], sizeMultiple: 8 }));
addModel('vsr', imported('vsr', { label: 'FlashVSR v1.1' }));
addModel('elsewhere', imported('elsewhere', { file: '../vsr/model.safetensors' }));
addModel('bare', undefined);
addModel('two', undefined, ['a.onnx', 'b.onnx']);
addModel('broken', '{ this is not JSON');
addModel('wrong', onnx('wrong', 99));
addModel('gone', onnx('gone', 4), []);
addModel('needy', onnx('needy', 2, { fallbacks: ['absent', 'nano', 'nano-x2'] }));

/** A machine with what is said. */
function machine(cuda = false, gpuObjection: string | undefined = 'there is no GPU here'): Machine {
  return { cudaUsable: async () => cuda, gpuObjection: async () => gpuObjection };
}

function resolve(model: Partial<Config['model']>): Promise<UpscalerSpec> {
  return resolveModel({ model: configSchema.shape.model.parse(model) }, [root], undefined, machine());
}

async function failure(model: Partial<Config['model']>): Promise<AppError> {
  const error: unknown = await resolve(model).catch((thrown: unknown) => thrown);
  if (error instanceof AppError) return error;
  throw new Error(`no AppError but ${String(error)}`);
}

it('auto takes the model of the wanted scale whose manifest says so, with its fallbacks below it', async () => {
  expect(await resolve({ name: 'auto', threads: 3 })).toEqual({
    kind: 'onnx',
    model: {
      file: path.join(root, 'nano', 'model.onnx'),
      label: 'nano x4',
      valueRange: [0, 1],
      scale: 4,
      sha256: SHA256,
      recurrentState: [{ input: 'hidden', output: 'hidden_out' }],
    },
    threads: 3,
    fallbacks: [{ file: path.join(root, 'mini', 'model.onnx'), label: 'mini x4', valueRange: [0, 1], scale: 4 }],
  });
  expect(await resolve({ name: 'auto', scale: 2 })).toMatchObject({
    kind: 'onnx',
    model: { file: path.join(root, 'nano-x2', 'model.onnx'), scale: 2 },
    fallbacks: [],
  });
  // There is a x3 model here, but it does not ask to be taken.
  expect(await resolve({ name: 'auto', scale: 3 })).toMatchObject({ kind: 'resize', scale: 3 });
});

it('auto takes an imported FlashVSR where CUDA is usable, the newest, and asks for no device otherwise', async () => {
  addModel('cuda/flashvsr-v1', imported('flashvsr-v1', { variant: 'v1' }));
  addModel('cuda/flashvsr-v1.1', imported('flashvsr-v1.1'));
  const auto = (device: string, usable: boolean, place = 'cuda') =>
    resolveModel(
      { model: configSchema.shape.model.parse({ device }) },
      [path.join(root, place)],
      undefined,
      machine(usable),
    );
  expect(await auto('auto', true)).toMatchObject({ kind: 'flashvsr', label: 'flashvsr-v1.1' });
  expect(await auto('auto', false)).toMatchObject({ kind: 'resize' });
  expect(await auto('cpu', true)).toMatchObject({ kind: 'resize' });
  expect(await auto('auto', true, 'range')).toMatchObject({ kind: 'resize' });
});

it('auto is a resize where no model is shipped', async () => {
  const spec = await resolveModel({ model: configSchema.shape.model.parse({ scale: 3 }) }, [
    path.join(root, 'nothing'),
  ]);
  expect(spec).toEqual({ kind: 'resize', scale: 3, filter: 'lanczos' });
});

it('takes a name, a folder, a file and a folder with one file', async () => {
  const file = path.join(root, 'range', 'model.onnx');
  const range = { kind: 'onnx', model: { file, scale: 3, valueRange: [0, 255], sizeMultiple: 8, label: 'range' } };
  expect(await resolve({ name: 'range' })).toMatchObject(range);
  expect(await resolve({ name: path.join(root, 'range') })).toMatchObject(range);
  // The manifest beside the file describes it.
  expect(await resolve({ name: file })).toMatchObject(range);
  expect(await resolve({ name: path.join(root, 'bare'), valueRange: [-1, 1] })).toEqual({
    kind: 'onnx',
    model: { file: path.join(root, 'bare', 'model.onnx'), label: 'model', valueRange: [-1, 1] },
    threads: 2,
    fallbacks: [],
  });
  expect(await resolve({ name: 'resize', filter: 'bicubic' })).toEqual({ kind: 'resize', scale: 4, filter: 'bicubic' });
});

it('leaves out fallbacks that are not here or are larger, and names them', async () => {
  const leftOut: string[] = [];
  const config = { model: configSchema.shape.model.parse({ name: 'needy' }) };
  const spec = await resolveModel(config, [root], (name, reason) => leftOut.push(`${name}: ${reason}`));
  expect(spec).toMatchObject({ model: { label: 'needy' }, fallbacks: [{ label: 'nano-x2', scale: 2 }] });
  expect(leftOut).toEqual([
    'absent: there is no such ONNX model here',
    expect.stringMatching(/^nano: its scale is 4, more than needy's 2/),
  ]);
});

it('gives FlashVSR the small model of its scale for overload, where there is one', async () => {
  expect(await resolve({ name: 'vsr', threads: 3 })).toMatchObject({
    smallModel: { model: { label: 'nano x4', scale: 4 }, threads: 3 },
  });
  const leftOut: string[] = [];
  const config = { model: configSchema.shape.model.parse({ name: 'vsr', scale: 3 }) };
  expect(await resolveModel(config, [root], (name) => leftOut.push(name))).not.toHaveProperty('smallModel');
  expect(leftOut).toEqual(['small model']);
});

it('hands FlashVSR models on with their settings', async () => {
  expect(await resolve({ name: 'vsr', device: 'cpu', seed: 7 })).toMatchObject({
    kind: 'flashvsr',
    model: { kind: 'imported', path: path.join(root, 'vsr', 'model.safetensors') },
    label: 'FlashVSR v1.1',
    device: 'reference',
    seed: 7,
  });
  expect(await resolve({ name: 'flashvsr-synthetic' })).toMatchObject({
    kind: 'flashvsr',
    model: { kind: 'synthetic', path: 'official' },
    decoder: 'tiny',
  });
  expect(await resolve({ name: 'flashvsr-synthetic', decoder: 'wan' })).toMatchObject({
    model: { kind: 'synthetic', path: 'official-wan' },
    decoder: 'wan',
  });
  await expect(resolve({ name: 'resize', decoder: 'wan' })).rejects.toThrow(/belongs to FlashVSR/);
});

it.each([
  ['flashvsr-v1.1', 'model.notFound', /"flashvsr-v1.1" is not on this machine yet/],
  ['nothing', 'model.notFound', /no model "nothing".*There are: auto, resize, .*nano \(x4\), nano-x2 \(x2\)/],
  ['broken', 'model.invalid', /broken.manifest\.json is not valid JSON/],
  ['wrong', 'model.invalid', /wrong.manifest\.json is not a model manifest: scale: /],
  ['elsewhere', 'model.invalid', /file: must be a file of this folder/],
  ['short-hash', 'model.invalid', /sha256: must be 64/],
  ['gone', 'model.invalid', /names model\.onnx, which is not there/],
  ['two', 'model.invalid', /several \.onnx files \(a\.onnx, b\.onnx\)/],
])('says what is wrong with "%s"', async (name, code, message) => {
  const error = await failure({ name });
  expect(error.code).toBe(code);
  expect(error.message).toMatch(message);
});

it('refuses other files', async () => {
  const file = path.join(root, 'weights.bin');
  writeFileSync(file, 'x');
  expect((await failure({ name: file })).message).toMatch(/neither a folder with manifest\.json nor an \.onnx file/);
});

it('lists what --model may be, what auto takes and what comes below it', () => {
  const text = modelHelp([root]);
  expect(text).toMatch(/nano +ONNX x4; auto for --scale 4; under overload mini, then resize; Apache-2.0/);
  expect(text).toMatch(/vsr +FlashVSR, FlashVSR v1.1/);
  expect(modelHelp([path.join(root, 'nothing')])).toMatch(/FlashVSR is not here yet: npm run cli -- models pull/);
});

it('lists what there is', () => {
  expect(availableModels([root]).map((model) => model.name)).toEqual(
    expect.arrayContaining(['nano', 'mini', 'nano-x2', 'range', 'vsr', 'gone']),
  );
});

describe('GPU models', () => {
  const gpuRoot = path.join(root, 'gpu-models');
  beforeAll(() => {
    addModel('gpu-models/midi', onnx('midi', 4, { gpu: true, fallbacks: ['nano'] }));
    addModel('gpu-models/nano', onnx('nano', 4, { auto: true }));
    writeFileSync(path.join(gpuRoot, 'other.onnx'), '');
  });
  const on = async (objection: string | undefined, model: Partial<Config['model']>, leftOut: string[] = []) =>
    resolveModel(
      { model: configSchema.shape.model.parse(model) },
      [gpuRoot],
      (name, reason) => leftOut.push(`${name}: ${reason}`),
      { cudaUsable: async () => false, gpuObjection: async () => objection },
    );

  it('auto takes it where a GPU does it better, with the CPU models below it', async () => {
    expect(await on(undefined, {})).toMatchObject({
      model: { label: 'midi', gpu: 'preferred' },
      fallbacks: [{ label: 'nano' }],
    });
    expect(await on(undefined, {})).not.toHaveProperty('fallbacks.0.gpu');
    expect(await on(undefined, { device: 'cpu' })).toMatchObject({ model: { label: 'nano' } });
  });

  it('auto stays on the CPU for a slow GPU and reports why; without a GPU there is nothing to report', async () => {
    const leftOut: string[] = [];
    expect(await on('the GPU is no faster', {}, leftOut)).toMatchObject({ model: { label: 'nano' } });
    expect(leftOut).toEqual(['midi on the GPU: the GPU is no faster']);
    expect(await on('there is no GPU here', {}, leftOut)).toMatchObject({ model: { label: 'nano' } });
    expect(leftOut).toHaveLength(1);
  });

  it('device gpu asks for the GPU with every model; files of others go there by themselves when it is faster', async () => {
    expect(await on('slow', { device: 'gpu' })).toMatchObject({ model: { label: 'midi', gpu: 'required' } });
    const file = path.join(gpuRoot, 'other.onnx');
    expect(await on('slow', { name: file, device: 'gpu' })).toMatchObject({ model: { gpu: 'required' } });
    expect(await on(undefined, { name: file })).toMatchObject({ model: { gpu: 'preferred' } });
    expect(await on('slow', { name: file })).not.toHaveProperty('model.gpu');
    for (const device of ['cuda', 'reference'] as const) {
      await expect(on('slow', { name: file, device })).rejects.toThrow(/is an ONNX model, which does not run on/);
    }
    await expect(on(undefined, { device: 'gpu', scale: 2 })).rejects.toMatchObject({ code: 'model.device' });
  });
});
