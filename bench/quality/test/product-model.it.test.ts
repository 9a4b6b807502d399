/** The benchmark runs what the server runs: manifest, checksum, planes, state. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { planarModel } from '../../../testing/onnx-file.ts';
import { timeMethods, timingFrame } from '../timing.ts';
import { loadMethods } from '../methods.ts';
import { loadProductModel } from '../product-model.ts';

const root = mkdtempSync(join(tmpdir(), 'quality-model-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function addModel(name: string, rest: object = {}): string {
  const folder = join(root, name);
  mkdirSync(folder);
  const content = planarModel(4);
  writeFileSync(join(folder, 'model.onnx'), content);
  const sha256 = createHash('sha256').update(content).digest('hex');
  const recurrentState = [{ input: 'hidden', output: 'hidden_out', divisor: 2 }];
  const manifest = {
    name,
    kind: 'onnx',
    file: 'model.onnx',
    scale: 4,
    layout: 'yuv420p',
    recurrentState,
    sha256,
    parameters: 7,
  };
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify({ ...manifest, ...rest }));
  return folder;
}
addModel('good');

it('keeps state between frames and forgets it on reset', async () => {
  const model = await loadProductModel(join(root, 'good'), 1);
  expect(model).toMatchObject({ name: 'good', scale: 4, recurrent: true, parameters: 7 });
  const frame = timingFrame(20, 14).i420;
  const first = await model.upscale(frame);
  expect([first.width, first.height, first.data.length]).toEqual([80, 56, (80 * 56 * 3) / 2]);
  const second = await model.upscale(frame);
  expect(Buffer.compare(first.data, second.data)).not.toBe(0);
  model.reset();
  expect(Buffer.compare((await model.upscale(frame)).data, first.data)).toBe(0);
  // Another size starts again by itself, and so does the way back.
  await model.upscale(timingFrame(10, 8).i420);
  expect(Buffer.compare((await model.upscale(frame)).data, first.data)).toBe(0);
  await model.close();
});

it('refuses a file with another sha256 and a folder without a manifest', async () => {
  const folder = addModel('damaged', { sha256: '0'.repeat(64) });
  await expect(loadProductModel(folder, 1)).rejects.toThrow(`its manifest says ${'0'.repeat(64)}`);
  await expect(loadProductModel(root, 1)).rejects.toThrow('has no manifest.json');
});

it('times the network alone, the whole product step, and resizes by the product', async () => {
  const options = { models: root, shipped: ['good'], data: '', threads: 1, names: ['bicubic', 'good'] };
  const methods = await loadMethods(options, 4);
  const timings = await timeMethods(methods, { width: 64, height: 36 }, 1, 2);
  expect(timings.map(({ method, what, runs }) => [method, what, runs])).toEqual([
    ['bicubic', 'product', 6],
    ['good', 'network', 6],
    ['good', 'product', 6],
  ]);
  for (const { medianMs, fastestTenthMs } of timings) {
    expect(fastestTenthMs).toBeGreaterThan(0);
    expect(medianMs).toBeGreaterThanOrEqual(fastestTenthMs);
  }
  for (const method of methods) await method.close();
  // A model is listed under its own scale only.
  expect(await loadMethods({ ...options, names: ['good'] }, 2)).toEqual([]);
});
