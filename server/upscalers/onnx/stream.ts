import { PictureScaler } from '../../codec/scaler.ts';
import { AppError } from '../../errors.ts';
import { monotonicUs } from '../../media/clock.ts';
import type { OnnxModel } from '../spec.ts';
import type { PushResult, StreamFormat, UpscalerListener, UpscalerStream } from '../upscaler.ts';
import { createFrameFormat, type FrameFormat } from './frame-format.ts';
import type { Inference, InferenceResult } from './inference.ts';
import type { Samples } from './samples.ts';
import type { Picture } from '../../media/picture.ts';

export interface OnnxStreamOptions {
  readonly id: number;
  readonly format: StreamFormat;
  readonly outputWidth: number;
  readonly outputHeight: number;
  /** Rungs before this make a larger result than that. */
  readonly firstRung: number;
  /** Of every model. */
  readonly scales: readonly number[];
  /** The model and its fallbacks: rungs 0, 1, ...; the rung behind them is a plain resize. */
  readonly models: readonly OnnxModel[];
  readonly inference: Inference;
  readonly listener: UpscalerListener;
  readonly onClose: () => void;
}

/** Memory for results kept for reuse: one with the encoder, one being filled. */
const SPARE_OUTPUTS = 2;

/** A rung that is a model, with memory for pictures on their way. */
interface ModelRung {
  readonly index: number;
  /** Its result is larger than the stream's. */
  readonly tooLarge: boolean;
  readonly format: FrameFormat;
  readonly inputs: Samples[];
  readonly outputs: Samples[];
}

/**
 * One stream through a model. The tensors' memory goes to the inference thread and comes back with the result. It takes one
 * picture at a time: what waits, waits in the pipeline's queue, where the newest wins. The stream is ready again before
 * `onPicture` is called, so that the caller can give it the next picture first and encode this one beside it.
 */
export class OnnxStream implements UpscalerStream {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly firstRung: number;
  readonly #options: OnnxStreamOptions;
  readonly #rungs: readonly ModelRung[];
  /** For the last rung, and for models of a smaller scale than the stream's. */
  readonly #resizer: PictureScaler;
  /** The picture in the inference thread. */
  #running: Picture | undefined;
  #rung = 0;
  #busyUs = 0;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: OnnxStreamOptions) {
    const { format, scales } = options;
    this.#options = options;
    this.outputWidth = options.outputWidth;
    this.outputHeight = options.outputHeight;
    this.firstRung = options.firstRung;
    this.#rungs = options.models.map(({ valueRange, sizeMultiple = 1 }, index) => {
      const { layout } = options.inference.models[index] ?? { layout: 'rgb' };
      const { sourceWidth: width, sourceHeight: height } = format;
      const scale = scales[index] ?? 1;
      const frameFormat = createFrameFormat({ layout, width, height, scale, valueRange, sizeMultiple });
      const tooLarge = width * scale > this.outputWidth || height * scale > this.outputHeight;
      return { index, tooLarge, format: frameFormat, inputs: [], outputs: [] };
    });
    this.#resizer = new PictureScaler(this.outputWidth, this.outputHeight, 'bicubic');
  }

  get pending(): number {
    return this.#running === undefined ? 0 : 1;
  }

  get ready(): boolean {
    return !this.#closed && this.#running === undefined;
  }

  get busyUs(): number {
    return this.#busyUs;
  }

  push(picture: Picture): PushResult {
    if (this.#closed) return 'closed';
    const { sourceWidth, sourceHeight } = this.#options.format;
    if (picture.width !== sourceWidth || picture.height !== sourceHeight) {
      throw new AppError(
        'internal',
        `A ${picture.width}x${picture.height} picture in a ${sourceWidth}x${sourceHeight} stream.`,
      );
    }
    if (!this.ready) return 'full';
    const { lost } = this.#options.inference;
    const rung = this.#rungs.find(({ index, tooLarge }) => index >= this.#rung && !tooLarge && !lost.has(index));
    if (rung === undefined) this.#resize(picture);
    else this.#infer(picture, rung);
    return 'accepted';
  }

  setRung(rung: number): void {
    this.#rung = Math.max(0, Math.min(rung, this.#rungs.length));
  }

  flush(): Promise<void> {
    if (this.pending === 0 || this.#closed) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.inference.forget(this.#options.id);
    for (const { format } of this.#rungs) format.close();
    this.#resizer.close();
    this.#options.onClose();
    this.#wake();
  }

  #resize(picture: Picture): void {
    const startedAtUs = monotonicUs();
    const result = this.#resizer.scale(picture);
    picture.release?.();
    this.#busyUs += monotonicUs() - startedAtUs;
    this.#deliver(result);
  }

  #infer(picture: Picture, rung: ModelRung): void {
    const { inference, id } = this.#options;
    const { format, index } = rung;
    const input = rung.inputs.pop() ?? format.newInput();
    const output = rung.outputs.pop() ?? format.newOutput();
    const startedAtUs = monotonicUs();
    format.read(picture, input);
    this.#busyUs += monotonicUs() - startedAtUs;
    this.#running = picture;
    const { width, height } = format;
    inference.run({ stream: id, model: index, width, height, input, output }).then(
      (result) => this.#onResult(picture, result, rung),
      (error: unknown) => this.#onGone(AppError.from(error, 'model.run')),
    );
  }

  #onResult(picture: Picture, { input, output, busyUs, error }: InferenceResult, rung: ModelRung): void {
    this.#running = undefined;
    this.#busyUs += busyUs;
    rung.inputs.push(input);
    if (this.#closed) {
      picture.release?.();
      return;
    }
    try {
      if (error !== undefined) throw error;
      const startedAtUs = monotonicUs();
      const result = this.#fit(
        rung.format.write(output, picture, () => {
          if (rung.outputs.length < SPARE_OUTPUTS) rung.outputs.push(output);
        }),
      );
      this.#busyUs += monotonicUs() - startedAtUs;
      this.#deliver(result);
    } catch (failure) {
      this.#options.listener.onError(AppError.from(failure, 'model.run'));
    } finally {
      picture.release?.();
      this.#wake();
    }
  }

  /** A model of a smaller scale: its result in the stream's size. */
  #fit(result: Picture): Picture {
    if (result.width === this.outputWidth && result.height === this.outputHeight) return result;
    const fitted = this.#resizer.scale(result);
    result.release?.();
    return fitted;
  }

  #onGone(error: AppError): void {
    this.#running?.release?.();
    this.#running = undefined;
    if (this.#closed) return;
    this.#options.listener.onError(error);
    void this.close();
  }

  #deliver(result: Picture): void {
    result.trace.upscaledAtUs = monotonicUs();
    this.#options.listener.onPicture(result);
  }

  #wake(): void {
    if (this.pending > 0 && !this.#closed) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
