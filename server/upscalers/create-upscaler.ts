import { AppError } from '../errors.ts';
import type { FlashVsrSpec, UpscalerSpec } from './spec.ts';
import type { Upscaler } from './upscaler.ts';

type SmallModel = NonNullable<FlashVsrSpec['smallModel']>;

/** What server/upscalers/flashvsr/upscaler.ts must export. */
interface FlashVsrModule {
  createFlashVsrUpscaler(spec: FlashVsrSpec): Promise<Upscaler>;
}

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
    case 'onnx': {
      const { OnnxUpscaler } = await import('./onnx/upscaler.ts');
      return OnnxUpscaler.load(spec);
    }
    case 'flashvsr': {
      return withLadder(await (await flashVsr()).createFlashVsrUpscaler(spec), spec.smallModel);
    }
  }
}

async function withLadder(main: Upscaler, small: SmallModel | undefined): Promise<Upscaler> {
  const { LadderedUpscaler } = await import('./laddered-upscaler.ts');
  if (small === undefined) return new LadderedUpscaler({ main });
  const { model, threads } = small;
  const load = async (): Promise<Upscaler> => {
    const { OnnxUpscaler } = await import('./onnx/upscaler.ts');
    return OnnxUpscaler.load({ kind: 'onnx', model, threads, fallbacks: [] });
  };
  return new LadderedUpscaler({ main, small: { label: model.label, load } });
}

async function flashVsr(): Promise<FlashVsrModule> {
  const url = new URL('./flashvsr/upscaler.ts', import.meta.url);
  try {
    return (await import(url.href)) as FlashVsrModule;
  } catch (cause) {
    throw new AppError('engine.unavailable', `The FlashVSR engine cannot be loaded: ${(cause as Error).message}`, {
      cause,
    });
  }
}
