import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { fixedSizeModel, nearestModel, packedModel } from '../../../../testing/onnx-file.ts';
import type { OnnxModel } from '../../spec.ts';
import { probeGpu } from '../gpu-probe/probe-gpu.ts';

/** Chromium brings SwiftShader, a Vulkan device in software; Dawn (onnxruntime's WebGPU) runs on it. Lavapipe of Debian 12 lacks features. */
const DRIVERS = [process.env['SOFTWARE_VULKAN'], '/usr/lib/chromium/vk_swiftshader_icd.json'];
const driver = DRIVERS.find((file) => file !== undefined && existsSync(file));

const folder = mkdtempSync(path.join(tmpdir(), 'gpu-it-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function model(name: string, content: Uint8Array, rest: Partial<OnnxModel> = {}): OnnxModel {
  const file = path.join(folder, `${name}.onnx`);
  writeFileSync(file, content);
  return { file, label: name, valueRange: [0, 255], ...rest };
}

interface Outcome {
  readonly device?: string;
  readonly code?: string;
  readonly message?: string;
  /** Of each upscaler, of each frame: luma's first and last sample, U's first and last. */
  readonly errors?: readonly string[];
  readonly results?: readonly (readonly (readonly number[])[])[];
}

async function run(
  main: OnnxModel,
  vulkan: string,
  fallbacks: readonly OnnxModel[] = [],
  upscalers = 1,
): Promise<Outcome> {
  const program = fileURLToPath(new URL('./programs/gpu.ts', import.meta.url));
  const request = JSON.stringify({ model: main, fallbacks, upscalers, frames: 4 });
  const env = { ...process.env, VK_DRIVER_FILES: vulkan, VK_ICD_FILENAMES: vulkan };
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', program, request], { env });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Outcome;
}

/** One frame late, from (x + y + 100 + 10 * frame); chroma is grey. */
const DELAYED = [
  [0, 0, 0, 0],
  [100, 125, 128, 128],
  [110, 135, 128, 128],
  [120, 145, 128, 128],
];

describe.skipIf(driver === undefined)('on a software GPU', () => {
  it('state stays on the device from frame to frame, and packed results come back whole, also of odd widths', async () => {
    const outcome = await run(model('packed', packedModel(), { gpu: 'required' }), driver ?? '');
    expect(outcome).toEqual({ device: expect.stringContaining('WebGPU') as string, errors: [], results: [DELAYED] });
  }, 180_000);

  it('a GPU that fails later costs its frame; the next model does the others', async () => {
    // Adds 64x64 zeros: the probe's picture has that size, the stream's have not.
    const main = model('fails-later', fixedSizeModel(64), { gpu: 'preferred', valueRange: [0, 1] });
    const next = model('after', nearestModel(4), { valueRange: [0, 1] });
    const { errors, results } = await run(main, driver ?? '', [next]);
    expect(errors).toEqual(['model.run (frame)']);
    expect(results?.[0]?.map(([first]) => first)).toEqual([110, 120, 130]);
  }, 180_000);

  it('two inference threads take turns', async () => {
    const { results } = await run(model('packed', packedModel(), { gpu: 'required' }), driver ?? '', [], 2);
    expect(results).toEqual([DELAYED, DELAYED]);
  }, 180_000);
});

describe('the probe of `auto`', () => {
  const ask = async (vulkan: string): Promise<string | undefined> => {
    vi.stubEnv('VK_DRIVER_FILES', vulkan);
    vi.stubEnv('VK_ICD_FILENAMES', vulkan);
    return probeGpu(model('probed', packedModel()), 1).finally(() => vi.unstubAllEnvs());
  };

  it.skipIf(driver === undefined)(
    'times both devices: a software GPU is no faster than the CPU',
    async () => {
      expect(await ask(driver ?? '')).toMatch(
        /^the GPU is no faster: [\d.]+ ms a frame of 320x180 on the GPU, [\d.]+ ms on the CPU$/,
      );
    },
    120_000,
  );

  it('reports why there is no adapter', async () => {
    expect(await ask(path.join(folder, 'no-driver.json'))).toContain('cannot run on a GPU here');
  }, 180_000);
});

describe('without an adapter', () => {
  const nowhere = path.join(folder, 'no-driver.json');

  it('a required GPU is an error that says what to do', async () => {
    const outcome = await run(model('packed', packedModel(), { gpu: 'required' }), nowhere);
    expect(outcome).toMatchObject({
      code: 'model.device',
      message: expect.stringContaining('cannot run on a GPU') as string,
    });
  }, 180_000);

  it('a preferred one leaves the frames to the next model', async () => {
    const next = model('next', nearestModel(4), { valueRange: [0, 1] });
    const { device, results } = await run(model('packed', packedModel(), { gpu: 'preferred' }), nowhere, [next]);
    expect(device).toBe('cpu');
    // Not one late: the nearest enlargement showed them.
    expect(results?.[0]?.map(([first]) => first)).toEqual([100, 110, 120, 130]);
  }, 180_000);

  it('and to the CPU where it is the last', async () => {
    const { device, results } = await run(model('packed', packedModel(), { gpu: 'preferred' }), nowhere);
    expect({ device, results }).toEqual({ device: 'cpu', results: [DELAYED] });
  }, 180_000);
});
