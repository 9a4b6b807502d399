import { AppError } from '../../errors.ts';
import { resizeLabel, scaledSize } from '../plain-resize.ts';
import { ResizeStream } from '../resize-stream.ts';
import { RungSwitch, type Side } from '../rung-switch.ts';
import type { OnnxModel, UpscalerSpec } from '../spec.ts';
import type { StreamFormat, Upscaler, UpscalerInfo, UpscalerListener, UpscalerStream } from '../upscaler.ts';
import { createFrameFormat } from './frame-format.ts';
import { gpuName } from './gpu-name.ts';
import { Inference } from './inference.ts';
import { OnnxStream } from './stream.ts';

/**
 * Recurrent state fades: after 96 frames nano, begun from zeros, differs from one that saw all frames before by 59 dB in luma (3 of 255
 * at most; after 16 by 53 dB), mini by up to 18 of 255. Only where the memory itself was not kept.
 */
const WARM_UP_FRAMES = 96;

export type OnnxSpec = Extract<UpscalerSpec, { kind: 'onnx' }>;

/**
 * Any ONNX super-resolution model with NCHW RGB or I420 planes in and out, by onnxruntime on the CPU or on a GPU, frame by frame, with
 * recurrent state where the model has one. Rungs: the model, its cheaper fallbacks (those of a smaller scale are resized to the same
 * result), plain bicubic resize.
 */
export class OnnxUpscaler implements Upscaler {
  readonly info: UpscalerInfo;
  readonly #spec: OnnxSpec;
  readonly #inference: Inference;
  readonly #streams = new Set<UpscalerStream>();
  #nextStream = 1;

  private constructor(spec: OnnxSpec, inference: Inference, scale: number) {
    this.#spec = spec;
    this.#inference = inference;
    const remembers = inference.models.some((model) => model.remembers);
    const onGpu = inference.models.some((model) => model.onGpu);
    this.info = {
      kind: 'onnx',
      label: spec.model.label,
      superResolution: true,
      scale,
      device: onGpu ? gpuName() : 'cpu',
      lookAheadFrames: 0,
      chunkFrames: 1,
      harmsDrawnContent: true,
      ...(remembers ? { warmUpFrames: WARM_UP_FRAMES, givesMemory: !onGpu } : {}),
      rungs: [spec.model.label, ...spec.fallbacks.map((model) => model.label), resizeLabel('bicubic')],
    };
  }

  /** @throws AppError model.invalid */
  static async load(spec: OnnxSpec): Promise<OnnxUpscaler> {
    const models = [spec.model, ...spec.fallbacks];
    const inference = await Inference.start(models, spec.threads);
    const scale = inference.models[0]?.scale ?? 1;
    const larger = inference.models.findIndex((model) => model.scale > scale);
    if (larger > 0) {
      await inference.close();
      throw new AppError(
        'model.invalid',
        `The fallback ${models[larger]?.file ?? ''} has scale ${inference.models[larger]?.scale ?? 0}; ` +
          `${spec.model.file} has ${scale}, and fallbacks may not have a larger one.`,
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
    const result = resultOf(
      format,
      this.#inference.models.map(({ scale }) => scale),
    );
    const id = this.#nextStream;
    this.#nextStream += 1;
    if (format.memory !== undefined) this.#inference.remember(id, format.memory);
    const resize: Side = {
      name: 'a plain resize',
      rungs: 1,
      open: (own) =>
        new ResizeStream({
          width: result.outputWidth,
          height: result.outputHeight,
          filters: ['bicubic'],
          listener: own,
        }),
    };
    const stream: RungSwitch = await RungSwitch.open({
      sides: [...this.#models.map((_, index) => this.#sideOf(index, id, format, result)), resize],
      size: result,
      firstRung: result.firstRung,
      // The newest of what waits longer wins in the pipeline's queue.
      waitingFrames: 1,
      memory: this.info.givesMemory === true ? () => this.#inference.recall(id) : undefined,
      listener,
      onClose: () => this.#streams.delete(stream),
    });
    this.#streams.add(stream);
    return stream;
  }

  get #models(): readonly OnnxModel[] {
    return [this.#spec.model, ...this.#spec.fallbacks];
  }

  /** One of the models. The streams through all of them are gone with the inference thread. */
  #sideOf(index: number, id: number, { sourceWidth, sourceHeight }: StreamFormat, result: Result): Side {
    const { label, valueRange, sizeMultiple = 1 } = this.#models[index] ?? this.#spec.model;
    const inference = this.#inference;
    const { layout, scale } = inference.models[index] ?? { layout: 'rgb', scale: 1 };
    const tooLarge = sourceWidth * scale > result.outputWidth || sourceHeight * scale > result.outputHeight;
    return {
      name: label,
      rungs: 1,
      essential: true,
      usable: () => !tooLarge && !inference.lost.has(index),
      open: (listener) => {
        const size = { width: sourceWidth, height: sourceHeight };
        const format = createFrameFormat({ layout, ...size, scale, valueRange, sizeMultiple });
        return new OnnxStream({ id, sourceWidth, sourceHeight, scale, model: index, format, inference, listener });
      },
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#streams].map((stream) => stream.close()));
    await this.#inference.close();
  }
}

interface Result {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly firstRung: number;
}

/**
 * The size of the result, which all rungs make, and the first rung whose model makes no more than that: of a large source
 * a x4 model's result may be too large, then a x2 model comes first, or a resize as large as allowed.
 */
function resultOf(format: StreamFormat, scales: readonly number[]): Result {
  const { sourceWidth, sourceHeight, maxResultPixels = Number.POSITIVE_INFINITY } = format;
  const fitting = scales.findIndex((scale) => sourceWidth * sourceHeight * scale * scale <= maxResultPixels);
  const scale = scales[fitting];
  if (scale !== undefined) {
    return { outputWidth: sourceWidth * scale, outputHeight: sourceHeight * scale, firstRung: fitting };
  }
  const { width, height } = scaledSize(format, scales[0] ?? 1);
  return { outputWidth: width, outputHeight: height, firstRung: scales.length };
}
