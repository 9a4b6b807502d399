import type { ScaleFilter } from '../../codec/scaler.ts';
import { resizeLabel, scaledSize } from '../plain-resize.ts';
import { ResizeStream } from '../resize-stream.ts';
import type { UpscalerSpec } from '../spec.ts';
import type { StreamFormat, Upscaler, UpscalerInfo, UpscalerListener, UpscalerStream } from '../upscaler.ts';

type ResizeSpec = Extract<UpscalerSpec, { kind: 'resize' }>;

/** Filters from the chosen one down to the cheapest: the ladder's rungs. */
export function resizeFilters(filter: ResizeSpec['filter']): readonly [ScaleFilter, ...ScaleFilter[]] {
  const cheaper: readonly ScaleFilter[] = filter === 'lanczos' ? ['bicubic', 'fast_bilinear'] : ['fast_bilinear'];
  return [filter, ...cheaper];
}

/** swscale as an upscaler: synchronous, stateless, one picture out for one in. Not super-resolution, and never called so. */
export class ResizeUpscaler implements Upscaler {
  readonly info: UpscalerInfo;
  readonly #filters: readonly [ScaleFilter, ...ScaleFilter[]];
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
      maxBitDepth: 10,
      takesFields: true,
      rungs: this.#filters.map(resizeLabel),
    };
  }

  async openStream(format: StreamFormat, listener: UpscalerListener): Promise<UpscalerStream> {
    const { width, height } = scaledSize(format, this.info.scale);
    const stream: ResizeStream = new ResizeStream({
      width,
      height,
      filters: this.#filters,
      listener,
      onClose: () => this.#streams.delete(stream),
    });
    this.#streams.add(stream);
    return stream;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#streams].map((stream) => stream.close()));
  }
}
