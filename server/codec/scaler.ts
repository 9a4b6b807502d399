import { AV_PIX_FMT_YUV420P } from 'node-av/constants';
import { SoftwareScaleContext, type Frame } from 'node-av/lib';
import type { MediaTime, Colour } from '../media/types.ts';
import type { FrameTrace } from '../media/steps.ts';
import { setFrameColour } from './colour.ts';
import { FramePicture, FramePool, frameOf } from './frame-picture.ts';
import { check } from './native.ts';
import type { Picture } from '../media/picture.ts';

/** swscale's filters, most expensive first. */
export type ScaleFilter = 'lanczos' | 'bicubic' | 'bilinear' | 'fast_bilinear';

/** A swscale context that finds its own parameters from each pair of frames and keeps them while they do not change. */
export function openScaleContext(filter: ScaleFilter, threads: number, exact: boolean): SoftwareScaleContext {
  const context = new SoftwareScaleContext();
  context.allocContext();
  const flags = exact ? `${filter}+accurate_rnd+full_chroma_int` : filter;
  check(context.setOption('sws_flags', flags), 'Setting the scaler flags', 'internal');
  check(context.setOption('threads', String(threads)), 'Setting the scaler threads', 'internal');
  return context;
}

/**
 * YUV 4:2:0 to YUV 4:2:0 of another size; matrix and range stay the source's. Sources may change size from picture to
 * picture, results never do.
 */
export class PictureScaler {
  readonly width: number;
  readonly height: number;
  readonly #threads: number;
  readonly #results: FramePool;
  #sources: FramePool | undefined;
  #context: SoftwareScaleContext;
  #filter: ScaleFilter;

  constructor(width: number, height: number, filter: ScaleFilter = 'bicubic', threads = 1) {
    this.width = width;
    this.height = height;
    this.#filter = filter;
    this.#threads = threads;
    this.#results = new FramePool(width, height);
    this.#context = openScaleContext(filter, threads, false);
  }

  get filter(): ScaleFilter {
    return this.#filter;
  }

  setFilter(filter: ScaleFilter): void {
    if (filter === this.#filter) return;
    this.#filter = filter;
    this.#context.freeContext();
    this.#context = openScaleContext(filter, this.#threads, false);
  }

  /** A new picture with the source's mediaTime and trace; the source stays valid. @throws AppError internal */
  scale(picture: Picture): FramePicture {
    const { frame, done } = frameOf(picture, () => this.#sourcePool(picture.width, picture.height));
    try {
      return this.scaleFrame(frame, picture.colour, picture.mediaTime, picture.trace);
    } finally {
      done();
    }
  }

  /** The same for a frame in any pixel format swscale reads. `colour` is the matrix and range of `frame`. */
  scaleFrame(frame: Frame, colour: Colour, mediaTime: MediaTime, trace: FrameTrace): FramePicture {
    const result = this.#results.acquire();
    setFrameColour(frame, colour);
    setFrameColour(result, colour);
    const code = this.#context.scaleFrameSync(result, frame);
    if (code < 0) this.#results.recycle(result);
    check(code, `Scaling ${frame.width}x${frame.height} to ${this.width}x${this.height}`, 'internal');
    return new FramePicture(result, colour, mediaTime, trace, this.#results.recycle);
  }

  /** Idempotent. */
  close(): void {
    this.#context.freeContext();
    this.#results.close();
    this.#sources?.close();
    this.#sources = undefined;
  }

  #sourcePool(width: number, height: number): FramePool {
    if (this.#sources?.width !== width || this.#sources.height !== height) {
      this.#sources?.close();
      this.#sources = new FramePool(width, height, AV_PIX_FMT_YUV420P, 1);
    }
    return this.#sources;
  }
}
