import {
  AVCOL_SPC_RGB,
  AV_FRAME_FLAG_INTERLACED,
  AV_FRAME_FLAG_TOP_FIELD_FIRST,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUV420P10LE,
  type AVPixelFormat,
} from 'node-av/constants';
import { SoftwareScaleContext, type Frame } from 'node-av/lib';
import type { MediaTime, Colour } from '../media/types.ts';
import type { FrameTrace } from '../media/steps.ts';
import { setFrameColour, setFrameRgb } from './colour.ts';
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
  /** One for each format that results have. */
  readonly #results = new Map<AVPixelFormat, FramePool>();
  #sources: FramePool | undefined;
  readonly #exact: boolean;
  #context: SoftwareScaleContext;
  #filter: ScaleFilter;

  /** @param exact rounds without error and interpolates RGB's chroma in full: slower, for sources that are not YUV 4:2:0 */
  constructor(width: number, height: number, filter: ScaleFilter = 'bicubic', threads = 1, exact = false) {
    this.width = width;
    this.height = height;
    this.#filter = filter;
    this.#threads = threads;
    this.#exact = exact;
    this.#context = openScaleContext(filter, threads, exact);
  }

  get filter(): ScaleFilter {
    return this.#filter;
  }

  setFilter(filter: ScaleFilter): void {
    if (filter === this.#filter) return;
    this.#filter = filter;
    this.#context.freeContext();
    this.#context = openScaleContext(filter, this.#threads, this.#exact);
  }

  /** A new picture with the source's mediaTime and trace; the source stays valid. @throws AppError internal */
  scale(picture: Picture): FramePicture {
    const { frame, done } = frameOf(picture, () => this.#sourcePool(picture.width, picture.height));
    try {
      const { colour, mediaTime, trace, bitDepth } = picture;
      return this.scaleFrame(frame, colour, mediaTime, trace, colour, formatOf(bitDepth));
    } finally {
      done();
    }
  }

  /**
   * The same for a frame in any pixel format swscale reads.
   * @param colour matrix and range of `frame`; of an RGB frame (which has its own) those of the result
   * @param to of the result, where it differs
   * @param format of the result: 4:2:0 of 8 or 10 bits
   */
  scaleFrame(
    frame: Frame,
    colour: Colour,
    mediaTime: MediaTime,
    trace: FrameTrace,
    to = colour,
    format: AVPixelFormat = AV_PIX_FMT_YUV420P,
  ): FramePicture {
    const results = this.#resultPool(format);
    const result = results.acquire();
    // Interlaced pictures are scaled field by field.
    copyFieldFlags(frame, result);
    if (frame.colorSpace === AVCOL_SPC_RGB) setFrameRgb(frame);
    else setFrameColour(frame, colour);
    setFrameColour(result, to);
    const code = this.#context.scaleFrameSync(result, frame);
    if (code < 0) results.recycle(result);
    check(code, `Scaling ${frame.width}x${frame.height} to ${this.width}x${this.height}`, 'internal');
    return new FramePicture(result, to, mediaTime, trace, results.recycle);
  }

  /** Idempotent. */
  close(): void {
    this.#context.freeContext();
    for (const results of this.#results.values()) results.close();
    this.#results.clear();
    this.#sources?.close();
    this.#sources = undefined;
  }

  #resultPool(format: AVPixelFormat): FramePool {
    const found = this.#results.get(format);
    if (found !== undefined) return found;
    const pool = new FramePool(this.width, this.height, format);
    this.#results.set(format, pool);
    return pool;
  }

  #sourcePool(width: number, height: number): FramePool {
    if (this.#sources?.width !== width || this.#sources.height !== height) {
      this.#sources?.close();
      this.#sources = new FramePool(width, height, AV_PIX_FMT_YUV420P, 1);
    }
    return this.#sources;
  }
}

function formatOf(bitDepth: Picture['bitDepth']): AVPixelFormat {
  return bitDepth === 10 ? AV_PIX_FMT_YUV420P10LE : AV_PIX_FMT_YUV420P;
}

function copyFieldFlags(from: Frame, to: Frame): void {
  for (const flag of [AV_FRAME_FLAG_INTERLACED, AV_FRAME_FLAG_TOP_FIELD_FIRST]) {
    if (from.hasFlags(flag)) to.setFlags(flag);
    else to.clearFlags(flag);
  }
}
