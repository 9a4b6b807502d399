import { RgbReader, RgbWriter, type RgbLayout } from '../../codec/rgb.ts';
import type { OnnxLayout } from '../spec.ts';
import { newSamples, type Samples } from './samples.ts';
import type { Picture } from '../../media/picture.ts';

/** Turns pictures into a model's samples and back. One per model and stream. */
export interface FrameFormat {
  /** Size of the tensors given to the model. */
  readonly width: number;
  readonly height: number;
  newInput(): Samples;
  newOutput(): Samples;
  read(picture: Picture, target: Samples): void;
  /**
   * @param source the picture it was made from: time, colour and trace
   * @param done called when the output's memory may be used again
   */
  write(output: Samples, source: Picture, done: () => void): Picture;
  close(): void;
}

export interface FrameFormatOptions {
  readonly layout: OnnxLayout;
  readonly width: number;
  readonly height: number;
  readonly scale: number;
  /** `rgb` only. */
  readonly valueRange: readonly [number, number];
  readonly sizeMultiple: number;
}

export function createFrameFormat(options: FrameFormatOptions): FrameFormat {
  return options.layout === 'rgb' ? new RgbFormat(options) : new PlanarFormat(options);
}

/** Float RGB through swscale, padded to the model's multiple. */
class RgbFormat implements FrameFormat {
  readonly width: number;
  readonly height: number;
  readonly #options: FrameFormatOptions;
  readonly #reader = new RgbReader();
  readonly #writer: RgbWriter;

  constructor(options: FrameFormatOptions) {
    const { width, height, scale, sizeMultiple } = options;
    this.#options = options;
    this.width = Math.ceil(width / sizeMultiple) * sizeMultiple;
    this.height = Math.ceil(height / sizeMultiple) * sizeMultiple;
    this.#writer = new RgbWriter(width * scale, height * scale);
  }

  newInput(): Samples {
    return newSamples('rgb', this.width, this.height);
  }

  newOutput(): Samples {
    return newSamples('rgb', this.width * this.#options.scale, this.height * this.#options.scale);
  }

  read(picture: Picture, target: Samples): void {
    const planes = target as Float32Array;
    const layout = this.#layout(1);
    this.#reader.read(picture, planes, layout);
    padEdges(planes, picture.width, picture.height, layout);
    fromUnit(planes, this.#options.valueRange);
  }

  write(output: Samples, { colour, mediaTime, trace }: Picture, done: () => void): Picture {
    const planes = output as Float32Array;
    toUnit(planes, this.#options.valueRange);
    const picture = this.#writer.write(planes, this.#layout(this.#options.scale), colour, mediaTime, trace);
    done();
    return picture;
  }

  close(): void {
    this.#reader.close();
    this.#writer.close();
  }

  #layout(scale: number): RgbLayout {
    return { rowValues: this.width * scale, rows: this.height * scale };
  }
}

/** I420 as it is: one packing copy in, none out. Range and matrix pass through. */
class PlanarFormat implements FrameFormat {
  readonly width: number;
  readonly height: number;
  readonly #scale: number;

  constructor({ width, height, scale }: FrameFormatOptions) {
    this.width = width;
    this.height = height;
    this.#scale = scale;
  }

  newInput(): Samples {
    return newSamples('yuv420p', this.width, this.height);
  }

  newOutput(): Samples {
    return newSamples('yuv420p', this.width * this.#scale, this.height * this.#scale);
  }

  read(picture: Picture, target: Samples): void {
    const { width, height, yStride, uvStride } = picture;
    const [chromaWidth, chromaHeight] = [(width + 1) >> 1, (height + 1) >> 1];
    const packed = target as Uint8Array;
    const luma = width * height;
    packPlane(picture.y, yStride, packed, 0, width, height);
    packPlane(picture.u, uvStride, packed, luma, chromaWidth, chromaHeight);
    packPlane(picture.v, uvStride, packed, luma + chromaWidth * chromaHeight, chromaWidth, chromaHeight);
  }

  write(output: Samples, { colour, mediaTime, trace }: Picture, done: () => void): Picture {
    const packed = output as Uint8Array;
    const [width, height] = [this.width * this.#scale, this.height * this.#scale];
    const [chromaWidth, chromaHeight] = [(width + 1) >> 1, (height + 1) >> 1];
    const [luma, chroma] = [width * height, chromaWidth * chromaHeight];
    let released = false;
    return {
      width,
      height,
      y: packed.subarray(0, luma),
      u: packed.subarray(luma, luma + chroma),
      v: packed.subarray(luma + chroma, luma + 2 * chroma),
      yStride: width,
      uvStride: chromaWidth,
      colour,
      mediaTime,
      trace,
      release: () => {
        if (released) return;
        released = true;
        done();
      },
    };
  }

  close(): void {
    // Nothing but garbage-collected memory.
  }
}

function packPlane(
  from: Uint8Array,
  stride: number,
  to: Uint8Array,
  start: number,
  width: number,
  height: number,
): void {
  if (stride === width) {
    to.set(from.subarray(0, width * height), start);
    return;
  }
  for (let row = 0; row < height; row += 1) {
    to.set(from.subarray(row * stride, row * stride + width), start + row * width);
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
