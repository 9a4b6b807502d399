import { PictureScaler, type ScaleFilter } from '../../codec/scaler.ts';
import { monotonicUs } from '../../media/clock.ts';
import { AppError } from '../../errors.ts';
import { resizeLabel, scaledSize } from '../plain-resize.ts';
import type { UpscalerSpec } from '../spec.ts';
import type {
  PushResult,
  StreamFormat,
  Upscaler,
  UpscalerInfo,
  UpscalerListener,
  UpscalerStream,
} from '../upscaler.ts';
import type { Picture } from '../../media/picture.ts';

type ResizeSpec = Extract<UpscalerSpec, { kind: 'resize' }>;

/** Filters from the chosen one down to the cheapest: the ladder's rungs. */
export function resizeFilters(filter: ResizeSpec['filter']): readonly ScaleFilter[] {
  const all: readonly ScaleFilter[] = ['lanczos', 'bicubic', 'fast_bilinear'];
  return all.slice(all.indexOf(filter));
}

/** swscale as an upscaler: synchronous, stateless, one picture out for one in. Not super-resolution, and never called so. */
export class ResizeUpscaler implements Upscaler {
  readonly info: UpscalerInfo;
  readonly #filters: readonly ScaleFilter[];
  readonly #streams = new Set<ResizeStream>();

  constructor(spec: ResizeSpec) {
    this.#filters = resizeFilters(spec.filter);
    this.info = {
      kind: 'resize',
      label: resizeLabel(spec.filter),
      superResolution: false,
      scale: spec.scale,
      device: 'cpu',
      lookAheadFrames: 0,
      chunkFrames: 1,
      rungs: this.#filters.map(resizeLabel),
    };
  }

  async openStream(format: StreamFormat, listener: UpscalerListener): Promise<UpscalerStream> {
    const { width, height } = scaledSize(format, this.info.scale);
    const stream = new ResizeStream(width, height, this.#filters, listener, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#streams].map((stream) => stream.close()));
  }
}

class ResizeStream implements UpscalerStream {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly pending = 0;
  readonly #scaler: PictureScaler;
  readonly #filters: readonly ScaleFilter[];
  readonly #listener: UpscalerListener;
  readonly #onClose: () => void;
  #busyUs = 0;
  #closed = false;

  constructor(
    width: number,
    height: number,
    filters: readonly ScaleFilter[],
    listener: UpscalerListener,
    onClose: () => void,
  ) {
    this.outputWidth = width;
    this.outputHeight = height;
    this.#filters = filters;
    this.#listener = listener;
    this.#onClose = onClose;
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
    const startedAtUs = monotonicUs();
    let result: Picture;
    try {
      result = this.#scaler.scale(picture);
    } catch (error) {
      picture.release?.();
      this.#listener.onError(new AppError('model.run', AppError.from(error).message, { cause: error, scope: 'frame' }));
      return 'accepted';
    }
    picture.release?.();
    const now = monotonicUs();
    this.#busyUs += now - startedAtUs;
    result.trace.upscaledAtUs = now;
    this.#listener.onPicture(result);
    return 'accepted';
  }

  setRung(rung: number): void {
    const filter = this.#filters[Math.max(0, Math.min(rung, this.#filters.length - 1))];
    if (filter !== undefined && !this.#closed) this.#scaler.setFilter(filter);
  }

  async flush(): Promise<void> {
    // Nothing is ever inside.
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#scaler.close();
    this.#onClose();
  }
}
