import { AVERROR_EAGAIN, AVERROR_EOF, AV_BUFFERSRC_FLAG_KEEP_REF } from 'node-av/constants';
import { Filter, FilterGraph, FilterInOut, Frame, type FilterContext } from 'node-av/lib';
import { AppError } from '../errors.ts';
import { check } from './native.ts';
import type { TimeBase } from './file-input.ts';

/**
 * Frames through filters of libavfilter (`bwdif`, `zscale,tonemap,...`). All frames have the size and the format of the one that it
 * was opened with. Times go through in the filter's own time base: the caller names frames by their pts and gets the same pts back.
 */
export class FrameFilter {
  readonly width: number;
  readonly height: number;
  readonly format: number;
  readonly #graph: FilterGraph;
  readonly #source: FilterContext;
  readonly #sink: FilterContext;
  readonly #timeBase: TimeBase;
  #closed = false;

  /** @throws AppError internal when libavfilter does not take the filters */
  constructor(filters: string, like: Frame, timeBase: TimeBase) {
    this.width = like.width;
    this.height = like.height;
    this.format = like.format;
    this.#timeBase = timeBase;
    this.#graph = new FilterGraph();
    this.#graph.alloc();
    const { num, den } = like.sampleAspectRatio;
    const aspect = num > 0 && den > 0 ? `${num}/${den}` : '0/1';
    this.#source = this.#add(
      'buffer',
      `video_size=${like.width}x${like.height}:pix_fmt=${like.format}:time_base=${timeBase.num}/${timeBase.den}` +
        `:pixel_aspect=${aspect}:colorspace=${like.colorSpace}:range=${like.colorRange}`,
    );
    this.#sink = this.#add('buffersink', null);
    const outputs = FilterInOut.createList([{ name: 'in', filterCtx: this.#source, padIdx: 0 }]);
    const inputs = FilterInOut.createList([{ name: 'out', filterCtx: this.#sink, padIdx: 0 }]);
    try {
      check(this.#graph.parsePtr(filters, inputs, outputs), `Reading the filters ${filters}`, 'internal');
      check(this.#graph.configSync(), `Setting up the filters ${filters}`, 'internal');
    } catch (error) {
      this.close();
      throw error;
    }
  }

  takes(frame: Frame): boolean {
    return frame.width === this.width && frame.height === this.height && frame.format === this.format;
  }

  /** @param frame stays the caller's; null at the end. @returns frames of the caller, in order; a filter may keep some back */
  async push(frame: Frame | null): Promise<Frame[]> {
    const flag = AV_BUFFERSRC_FLAG_KEEP_REF;
    check(await this.#source.buffersrcAddFrame(frame, flag), 'Filtering a frame', 'internal');
    const { num, den } = this.#sink.buffersinkGetTimeBase();
    // bwdif counts in half ticks.
    const divisor = BigInt(Math.round((this.#timeBase.num * den) / (num * this.#timeBase.den)));
    const results: Frame[] = [];
    for (;;) {
      const result = new Frame();
      result.alloc();
      const code = await this.#sink.buffersinkGetFrame(result);
      if (code < 0) {
        result.free();
        if (code !== AVERROR_EAGAIN && code !== AVERROR_EOF) check(code, 'Filtering a frame', 'internal');
        return results;
      }
      if (divisor > 1n) result.pts /= divisor;
      results.push(result);
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#graph.free();
  }

  #add(name: string, options: string | null): FilterContext {
    const filter = Filter.getByName(name);
    const context = filter === null ? null : this.#graph.createFilter(filter, name, options);
    if (context !== null) return context;
    this.close();
    throw new AppError('internal', `libavfilter does not take ${name} ${options ?? ''}.`);
  }
}
