import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { UpscalerSpec } from '../upscalers/spec.ts';

/** Indices of the GPUs that the FlashVSR engine can use; none also when the addon is not built. */
export async function usableGpus(): Promise<readonly number[]> {
  try {
    const { listDevices } = await import('../upscalers/flashvsr/binding.ts');
    const devices = await listDevices(process.env['FLASHVSR_CUDA_LIBRARY']);
    return devices.flatMap(({ device, usable, index }) => (device === 'cuda' && usable ? [index] : []));
  } catch {
    return [];
  }
}

/**
 * One spec per engine: FlashVSR runs on every GPU of `model.devices`, other models have one engine.
 *
 * @param gpus usableGpus, or a fake
 * @throws AppError config.invalid when devices are named for a model that does not run by CUDA
 */
export async function engineSpecs(
  spec: UpscalerSpec,
  devices: Config['model']['devices'],
  gpus: () => Promise<readonly number[]> = usableGpus,
): Promise<readonly UpscalerSpec[]> {
  const byCuda = spec.kind === 'flashvsr' && spec.device !== 'reference';
  if (devices !== 'auto') {
    if (byCuda) return devices.map((deviceIndex) => ({ ...spec, device: 'cuda', deviceIndex }));
    throw new AppError(
      'config.invalid',
      'model.devices names GPUs for FlashVSR by CUDA, which this model does not use.',
      {
        remedy: 'Leave model.devices out, or choose a FlashVSR model with --model.device cuda.',
      },
    );
  }
  if (!byCuda) return [spec];
  const usable = await gpus();
  // Without one the engine's own error says why, or the reference engine runs.
  return usable.length === 0 ? [spec] : usable.map((deviceIndex) => ({ ...spec, device: 'cuda', deviceIndex }));
}
