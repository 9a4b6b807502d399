import { AppError } from '../errors.ts';
import type { UpscalerSpec } from './spec.ts';
import type { Upscaler } from './upscaler.ts';

/**
 * Builds the upscaler a spec describes, in the thread that will use it. The kinds are loaded only when asked for:
 * a resize must not fail because onnxruntime or the CUDA addon cannot be loaded on this machine.
 *
 * @throws AppError model.invalid | model.notFound | engine.unavailable
 */
export async function createUpscaler(spec: UpscalerSpec): Promise<Upscaler> {
  switch (spec.kind) {
    case 'resize': {
      const { ResizeUpscaler } = await import('./resize/upscaler.ts');
      return new ResizeUpscaler(spec);
    }
    default:
      throw new AppError('model.notFound', `The upscaler kind "${spec.kind}" is not available.`);
  }
}
