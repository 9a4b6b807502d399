import { expect, it } from 'vitest';
import type { FlashVsrSpec, UpscalerSpec } from '../../upscalers/spec.ts';
import { engineSpecs } from '../engine-specs.ts';
import { FLASHVSR_SETTINGS } from '../../../testing/flashvsr-settings.ts';

const RESIZE: UpscalerSpec = { kind: 'resize', scale: 4, filter: 'lanczos' };
const FLASHVSR: FlashVsrSpec = {
  kind: 'flashvsr',
  model: { kind: 'synthetic', path: 'micro' },
  label: 'FlashVSR',
  device: 'auto',
  ...FLASHVSR_SETTINGS,
};
const gpus = async (): Promise<number[]> => [0, 1, 3];
const none = async (): Promise<number[]> => [];

it('makes one engine per GPU of FlashVSR: all that are usable, or those that are named', async () => {
  const on = (deviceIndex: number): UpscalerSpec => ({ ...FLASHVSR, device: 'cuda', deviceIndex });
  expect(await engineSpecs(FLASHVSR, 'auto', gpus)).toEqual([on(0), on(1), on(3)]);
  expect(await engineSpecs(FLASHVSR, [2, 1], gpus)).toEqual([on(2), on(1)]);
});

it('makes one engine of every other model, and of FlashVSR without a GPU or on the reference engine', async () => {
  expect(await engineSpecs(RESIZE, 'auto', gpus)).toEqual([RESIZE]);
  expect(await engineSpecs(FLASHVSR, 'auto', none)).toEqual([FLASHVSR]);
  const reference: UpscalerSpec = { ...FLASHVSR, device: 'reference' };
  expect(await engineSpecs(reference, 'auto', gpus)).toEqual([reference]);
});

it('refuses GPUs that are named for a model that does not run there', async () => {
  await expect(engineSpecs(RESIZE, [0], gpus)).rejects.toThrow(/model.devices names GPUs for FlashVSR by CUDA/);
  await expect(engineSpecs({ ...FLASHVSR, device: 'reference' }, [0], gpus)).rejects.toThrow(/model.devices/);
});
