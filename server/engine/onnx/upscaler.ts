import { resizeLabel } from '../resize/upscaler.ts';
import { AppError } from '../../errors.ts';
import type { UpscalerSpec } from '../spec.ts';
import type { StreamFormat, Upscaler, UpscalerInfo, UpscalerListener, UpscalerStream } from '../upscaler.ts';
import { Inference } from './inference.ts';
import { OnnxStream } from './stream.ts';

export type OnnxSpec = Extract<UpscalerSpec, { kind: 'onnx' }>;

/**
 * Any ONNX super-resolution model with NCHW RGB in and out, on the CPU by onnxruntime, frame by frame, with recurrent
 * state where the model has one. Rungs: the model, its cheaper fallbacks, plain bicubic resize.
 */
export class OnnxUpscaler implements Upscaler {
  readonly info: UpscalerInfo;
  readonly #spec: OnnxSpec;
  readonly #inference: Inference;
  readonly #streams = new Set<OnnxStream>();
  #nextStream = 1;

  private constructor(spec: OnnxSpec, inference: Inference, scale: number) {
    this.#spec = spec;
    this.#inference = inference;
    this.info = {
      kind: 'onnx',
      label: spec.model.label,
      superResolution: true,
      scale,
      device: 'cpu',
      lookAheadFrames: 0,
      chunkFrames: 1,
      rungs: [spec.model.label, ...spec.fallbacks.map((model) => model.label), resizeLabel('bicubic')],
    };
  }

  /** @throws AppError model.invalid */
  static async load(spec: OnnxSpec): Promise<OnnxUpscaler> {
    const models = [spec.model, ...spec.fallbacks];
    const inference = await Inference.start(models, spec.threads);
    const scale = inference.models[0]?.scale ?? 1;
    const other = inference.models.findIndex((model) => model.scale !== scale);
    if (other > 0) {
      await inference.close();
      throw new AppError(
        'model.invalid',
        `The fallback ${models[other]?.file ?? ''} has scale ${inference.models[other]?.scale ?? 0}; ` +
          `${spec.model.file} has ${scale}, and fallbacks must have the same.`,
      );
    }
    return new OnnxUpscaler(spec, inference, scale);
  }

  /** @throws AppError model.invalid when the file fixes another frame size */
  async openStream(format: StreamFormat, listener: UpscalerListener): Promise<UpscalerStream> {
    const { sourceWidth, sourceHeight } = format;
    this.#inference.models.forEach(({ fixedWidth, fixedHeight }, index) => {
      if ((fixedWidth ?? sourceWidth) === sourceWidth && (fixedHeight ?? sourceHeight) === sourceHeight) return;
      const file = index === 0 ? this.#spec.model.file : (this.#spec.fallbacks[index - 1]?.file ?? '');
      throw new AppError(
        'model.invalid',
        `${file} takes frames of ${fixedWidth ?? 'any'}x${fixedHeight ?? 'any'} only; this video is ${sourceWidth}x${sourceHeight}.`,
        { scope: 'stream', remedy: 'Publish that size, or export the model with dynamic height and width.' },
      );
    });
    const id = this.#nextStream;
    this.#nextStream += 1;
    const stream = new OnnxStream({
      id,
      format,
      scale: this.info.scale,
      models: [this.#spec.model, ...this.#spec.fallbacks],
      inference: this.#inference,
      listener,
      onClose: () => this.#streams.delete(stream),
    });
    this.#streams.add(stream);
    return stream;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#streams].map((stream) => stream.close()));
    await this.#inference.close();
  }
}
