import { AppError } from '../../errors.ts';
import { monotonicUs } from '../../media/clock.ts';
import type { Picture } from '../../media/picture.ts';
import type { PushResult, UpscalerListener, UpscalerStream } from '../upscaler.ts';
import type { FrameFormat } from './frame-format.ts';
import type { Inference, InferenceResult } from './inference.ts';
import type { Samples } from './samples.ts';

export interface OnnxStreamOptions {
  /** Of the recurrent state. The streams of one broadcast share it: a model that takes over begins with zeros. */
  readonly id: number;
  readonly sourceWidth: number;
  readonly sourceHeight: number;
  readonly scale: number;
  /** Which of the inference's models. */
  readonly model: number;
  readonly format: FrameFormat;
  readonly inference: Inference;
  readonly listener: UpscalerListener;
}

/** Memory for results kept for reuse: one with the encoder, one being filled. */
const SPARE_OUTPUTS = 2;

/**
 * One stream through one model. The tensors' memory goes to the inference thread and comes back with the result. It takes one
 * picture at a time: what waits, waits in the pipeline's queue, where the newest wins. The stream is ready again before
 * `onPicture` is called, so that the caller can give it the next picture first and encode this one beside it.
 */
export class OnnxStream implements UpscalerStream {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly #options: OnnxStreamOptions;
  readonly #inputs: Samples[] = [];
  readonly #outputs: Samples[] = [];
  /** The picture in the inference thread. */
  #running: Picture | undefined;
  #busyUs = 0;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: OnnxStreamOptions) {
    this.#options = options;
    this.outputWidth = options.sourceWidth * options.scale;
    this.outputHeight = options.sourceHeight * options.scale;
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
    const { sourceWidth, sourceHeight, inference, id, model, format } = this.#options;
    if (picture.width !== sourceWidth || picture.height !== sourceHeight) {
      throw new AppError(
        'internal',
        `A ${picture.width}x${picture.height} picture in a ${sourceWidth}x${sourceHeight} stream.`,
      );
    }
    if (!this.ready) return 'full';
    const input = this.#inputs.pop() ?? format.newInput();
    const output = this.#outputs.pop() ?? format.newOutput();
    const startedAtUs = monotonicUs();
    format.read(picture, input);
    this.#busyUs += monotonicUs() - startedAtUs;
    this.#running = picture;
    const { width, height } = format;
    inference.run({ stream: id, model, width, height, input, output }).then(
      (result) => this.#onResult(picture, result),
      (error: unknown) => this.#onGone(AppError.from(error, 'model.run')),
    );
    return 'accepted';
  }

  setRung(): void {
    // A model has one.
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
    this.#options.format.close();
    this.#wake();
  }

  #onResult(picture: Picture, { input, output, busyUs, error }: InferenceResult): void {
    this.#running = undefined;
    this.#busyUs += busyUs;
    this.#inputs.push(input);
    if (this.#closed) {
      picture.release?.();
      return;
    }
    try {
      if (error !== undefined) throw error;
      const startedAtUs = monotonicUs();
      const result = this.#options.format.write(output, picture, () => {
        if (this.#outputs.length < SPARE_OUTPUTS) this.#outputs.push(output);
      });
      const now = monotonicUs();
      this.#busyUs += now - startedAtUs;
      result.trace.upscaledAtUs = now;
      this.#options.listener.onPicture(result);
    } catch (failure) {
      this.#options.listener.onError(AppError.from(failure, 'model.run'));
    } finally {
      picture.release?.();
      this.#wake();
    }
  }

  /** The inference thread has ended. */
  #onGone(error: AppError): void {
    this.#running?.release?.();
    this.#running = undefined;
    if (this.#closed) return;
    this.#options.listener.onError(error);
    void this.close();
  }

  #wake(): void {
    if (this.pending > 0 && !this.#closed) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
