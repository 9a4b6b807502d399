import { RgbReader, RgbWriter, type RgbLayout } from '../../codec/rgb.ts';
import { PictureScaler } from '../../codec/scaler.ts';
import { AppError } from '../../errors.ts';
import { monotonicUs } from '../../media/clock.ts';
import type { OnnxModel } from '../spec.ts';
import type { Picture, PushResult, StreamFormat, UpscalerListener, UpscalerStream } from '../upscaler.ts';
import type { Inference, InferenceResult } from './inference.ts';

export interface OnnxStreamOptions {
  readonly id: number;
  readonly format: StreamFormat;
  readonly scale: number;
  /** The model and its fallbacks: rungs 0, 1, ...; the rung behind them is a plain resize. */
  readonly models: readonly OnnxModel[];
  readonly inference: Inference;
  readonly listener: UpscalerListener;
  readonly onClose: () => void;
}

/** One computing, one ready to follow the moment it is done. */
const MAX_PENDING = 2;

interface Buffers {
  readonly input: Float32Array<ArrayBuffer>;
  readonly output: Float32Array<ArrayBuffer>;
}

/**
 * One stream through a model. The tensors' memory goes to the inference thread and comes back with the result; while a
 * frame computes there, this thread encodes the one before it.
 */
export class OnnxStream implements UpscalerStream {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly #options: OnnxStreamOptions;
  readonly #reader = new RgbReader();
  readonly #writer: RgbWriter;
  readonly #resizer: PictureScaler;
  readonly #waiting: Picture[] = [];
  readonly #spare: Buffers[] = [];
  /** The picture in the inference thread. */
  #running: Picture | undefined;
  #rung = 0;
  #busyUs = 0;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: OnnxStreamOptions) {
    const { format, scale } = options;
    this.#options = options;
    this.outputWidth = format.sourceWidth * scale;
    this.outputHeight = format.sourceHeight * scale;
    this.#writer = new RgbWriter(this.outputWidth, this.outputHeight);
    this.#resizer = new PictureScaler(this.outputWidth, this.outputHeight, 'bicubic');
  }

  get pending(): number {
    return this.#waiting.length + (this.#running === undefined ? 0 : 1);
  }

  get ready(): boolean {
    return !this.#closed && this.pending < MAX_PENDING;
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
    this.#waiting.push(picture);
    this.#next();
    return 'accepted';
  }

  setRung(rung: number): void {
    this.#rung = Math.max(0, Math.min(rung, this.#options.models.length));
  }

  flush(): Promise<void> {
    if (this.pending === 0 || this.#closed) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const picture of this.#waiting.splice(0)) picture.release?.();
    this.#options.inference.forget(this.#options.id);
    this.#reader.close();
    this.#writer.close();
    this.#resizer.close();
    this.#spare.length = 0;
    this.#options.onClose();
    this.#wake();
  }

  /** Starts the next picture when nothing runs: results keep the order of the pushes. */
  #next(): void {
    while (this.#running === undefined && !this.#closed) {
      const picture = this.#waiting.shift();
      if (picture === undefined) {
        this.#wake();
        return;
      }
      const model = this.#options.models[this.#rung];
      if (model === undefined) this.#resize(picture);
      else this.#infer(picture, model, this.#rung);
    }
  }

  #resize(picture: Picture): void {
    const startedAtUs = monotonicUs();
    const result = this.#resizer.scale(picture);
    picture.release?.();
    this.#busyUs += monotonicUs() - startedAtUs;
    this.#deliver(result);
  }

  #infer(picture: Picture, model: OnnxModel, index: number): void {
    const { inference, id, scale } = this.#options;
    const layout = this.#layout(model);
    const buffers = this.#buffers(layout, scale);
    const startedAtUs = monotonicUs();
    this.#reader.read(picture, buffers.input, layout);
    padEdges(buffers.input, picture.width, picture.height, layout);
    fromUnit(buffers.input, model.valueRange);
    this.#busyUs += monotonicUs() - startedAtUs;
    this.#running = picture;
    const { rowValues: width, rows: height } = layout;
    inference.run({ stream: id, model: index, width, height, ...buffers }).then(
      (result) => this.#onResult(picture, result, model, layout),
      (error: unknown) => this.#onGone(AppError.from(error, 'model.run')),
    );
  }

  #onResult(
    picture: Picture,
    { input, output, busyUs, error }: InferenceResult,
    model: OnnxModel,
    layout: RgbLayout,
  ): void {
    this.#running = undefined;
    this.#busyUs += busyUs;
    if (this.#closed) {
      picture.release?.();
      return;
    }
    // First the next one into the thread, then this one's conversion and encoding beside it.
    this.#next();
    const { listener, scale } = this.#options;
    try {
      if (error !== undefined) throw error;
      const startedAtUs = monotonicUs();
      toUnit(output, model.valueRange);
      const resultLayout = { rowValues: layout.rowValues * scale, rows: layout.rows * scale };
      const result = this.#writer.write(output, resultLayout, picture.colour, picture.mediaTime, picture.trace);
      this.#busyUs += monotonicUs() - startedAtUs;
      this.#deliver(result);
    } catch (failure) {
      listener.onError(AppError.from(failure, 'model.run'));
    } finally {
      picture.release?.();
      if (this.#spare.length < MAX_PENDING) this.#spare.push({ input, output });
      this.#wake();
    }
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

  #layout(model: OnnxModel): RgbLayout {
    const { sourceWidth, sourceHeight } = this.#options.format;
    const multiple = model.sizeMultiple ?? 1;
    const up = (side: number): number => Math.ceil(side / multiple) * multiple;
    return { rowValues: up(sourceWidth), rows: up(sourceHeight) };
  }

  #buffers({ rowValues, rows }: RgbLayout, scale: number): Buffers {
    const values = 3 * rowValues * rows;
    const spare = this.#spare.pop();
    if (spare?.input.length === values) return spare;
    return { input: new Float32Array(values), output: new Float32Array(values * scale * scale) };
  }

  #wake(): void {
    if (this.pending > 0 && !this.#closed) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/** Repeats the last column and row into the padding: zeros there would bleed into the picture's edge. */
function padEdges(planes: Float32Array, width: number, height: number, { rowValues, rows }: RgbLayout): void {
  if (width === rowValues && height === rows) return;
  for (let plane = 0; plane < 3; plane += 1) {
    const base = plane * rows * rowValues;
    for (let row = 0; row < height; row += 1) {
      const start = base + row * rowValues;
      planes.fill(planes[start + width - 1] ?? 0, start + width, start + rowValues);
    }
    const last = base + (height - 1) * rowValues;
    for (let row = height; row < rows; row += 1) planes.copyWithin(base + row * rowValues, last, last + rowValues);
  }
}

/** 0..1 to the model's range, in place. */
function fromUnit(values: Float32Array, [black, white]: readonly [number, number]): void {
  if (black === 0 && white === 1) return;
  const gain = white - black;
  for (let index = 0; index < values.length; index += 1) values[index] = (values[index] ?? 0) * gain + black;
}

/** The model's range to 0..1, in place. */
function toUnit(values: Float32Array, [black, white]: readonly [number, number]): void {
  if (black === 0 && white === 1) return;
  const gain = 1 / (white - black);
  for (let index = 0; index < values.length; index += 1) values[index] = ((values[index] ?? 0) - black) * gain;
}
