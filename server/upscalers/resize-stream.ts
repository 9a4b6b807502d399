import { PictureScaler, type ScaleFilter } from '../codec/scaler.ts';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { Picture } from '../media/picture.ts';
import type { PushResult, UpscalerListener, UpscalerStream } from './upscaler.ts';

export interface ResizeStreamOptions {
  readonly width: number;
  readonly height: number;
  /** One per rung, best first. */
  readonly filters: readonly [ScaleFilter, ...ScaleFilter[]];
  readonly listener: UpscalerListener;
  readonly onClose?: () => void;
}

/** swscale as a stream: synchronous, stateless, one picture out for one in. */
export class ResizeStream implements UpscalerStream {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly pending = 0;
  readonly #options: ResizeStreamOptions;
  readonly #scaler: PictureScaler;
  #busyUs = 0;
  #closed = false;

  constructor(options: ResizeStreamOptions) {
    const { width, height, filters } = options;
    this.#options = options;
    this.outputWidth = width;
    this.outputHeight = height;
    this.#scaler = new PictureScaler(width, height, filters[0]);
  }

  get ready(): boolean {
    return !this.#closed;
  }

  get busyUs(): number {
    return this.#busyUs;
  }

  push(picture: Picture): PushResult {
    if (this.#closed) return 'closed';
    const { listener } = this.#options;
    const startedAtUs = monotonicUs();
    let result: Picture;
    try {
      result = this.#scaler.scale(picture);
    } catch (error) {
      picture.release?.();
      listener.onError(new AppError('model.run', AppError.from(error).message, { cause: error, scope: 'frame' }));
      return 'accepted';
    }
    picture.release?.();
    const now = monotonicUs();
    this.#busyUs += now - startedAtUs;
    result.trace.upscaledAtUs = now;
    listener.onPicture(result);
    return 'accepted';
  }

  setRung(rung: number): void {
    const { filters } = this.#options;
    const filter = filters[Math.max(0, Math.min(rung, filters.length - 1))];
    if (filter !== undefined && !this.#closed) this.#scaler.setFilter(filter);
  }

  async flush(): Promise<void> {
    // Nothing is ever inside.
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#scaler.close();
    this.#options.onClose?.();
  }
}
