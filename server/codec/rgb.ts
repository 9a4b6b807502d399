import {
  AVCOL_RANGE_JPEG,
  AVCOL_SPC_RGB,
  AV_PIX_FMT_GBRPF32LE,
  AV_PIX_FMT_YUV420P,
  SWS_BICUBIC,
} from 'node-av/constants';
import { SoftwareScaleContext, type Frame } from 'node-av/lib';
import type { MediaTime, Colour } from '../media/types.ts';
import type { FrameTrace } from '../media/steps.ts';
import { WEBRTC_COLOUR, sameColour, setFrameColour } from './colour.ts';
import { FramePicture, FramePool, allocateFrame, frameOf, planesOf } from './frame-picture.ts';
import { check } from './native.ts';
import { openScaleContext } from './scaler.ts';
import type { Picture } from '../media/picture.ts';

/**
 * Planes of RGB in one Float32Array: red, green, blue, each `rows * rowValues`, values 0 (black) to 1 (white). This is the
 * memory of an NCHW tensor with N = 1; `rowValues` and `rows` may exceed the picture (a padded tensor).
 *
 * swscale expands 8 to 16 bits by 256 and treats 65535 as one, so white reads as 0.9961; writing does the reverse, and
 * what is read comes back exactly. A model sees everything 0.4 % darker, which is less than half a level of its training.
 */
export interface RgbLayout {
  readonly rowValues: number;
  readonly rows: number;
}

/** libav's planar RGB is stored green, blue, red: the place of each of its planes in an RGB tensor. */
const TENSOR_PLANE = [1, 2, 0] as const;

/** YUV 4:2:0 to planar float RGB by the picture's own matrix and range. */
export class RgbReader {
  readonly #context: SoftwareScaleContext = openScaleContext('bicubic', 1, true);
  #rgb: Frame | undefined;
  #sources: FramePool | undefined;

  /** Fills the picture's part of `target`; what lies beyond it stays as it is. @throws AppError internal */
  read(picture: Picture, target: Float32Array, layout: RgbLayout): void {
    const { width, height } = picture;
    const rgb = this.#rgbFrame(width, height);
    const { frame, done } = frameOf(picture, () => this.#sourcePool(width, height));
    try {
      check(this.#context.scaleFrameSync(rgb, frame), `Converting ${width}x${height} to RGB`, 'internal');
    } finally {
      done();
    }
    copyRgb(rgb, target, layout);
  }

  /** Idempotent. */
  close(): void {
    this.#context.freeContext();
    this.#rgb?.free();
    this.#rgb = undefined;
    this.#sources?.close();
    this.#sources = undefined;
  }

  #rgbFrame(width: number, height: number): Frame {
    if (this.#rgb?.width !== width || this.#rgb.height !== height) {
      this.#rgb?.free();
      this.#rgb = allocateRgb(width, height);
    }
    return this.#rgb;
  }

  #sourcePool(width: number, height: number): FramePool {
    if (this.#sources?.width !== width || this.#sources.height !== height) {
      this.#sources?.close();
      this.#sources = new FramePool(width, height, AV_PIX_FMT_YUV420P, 1);
    }
    return this.#sources;
  }
}

/** Planar float RGB to YUV 4:2:0. Values outside 0..1 are clipped. */
export class RgbWriter {
  readonly #results: FramePool;
  readonly #width: number;
  readonly #height: number;
  /** Reads the tensor where it lies, but knows BT.601 limited range only (swscale's default): all that live video needs. */
  #direct: SoftwareScaleContext | undefined;
  /** For other colours: one copy into a frame that can say what it is. */
  #general: { readonly context: SoftwareScaleContext; readonly rgb: Frame } | undefined;

  constructor(width: number, height: number) {
    this.#width = width;
    this.#height = height;
    this.#results = new FramePool(width, height);
  }

  /** @throws AppError internal */
  write(
    source: Float32Array,
    layout: RgbLayout,
    colour: Colour,
    mediaTime: MediaTime,
    trace: FrameTrace,
  ): FramePicture {
    const result = this.#results.acquire();
    setFrameColour(result, colour);
    const code = sameColour(colour, WEBRTC_COLOUR)
      ? this.#writeDirect(source, layout, result)
      : this.#writeGeneral(source, layout, result);
    if (code < 0) this.#results.recycle(result);
    check(code, `Converting ${this.#width}x${this.#height} from RGB`, 'internal');
    return new FramePicture(result, colour, mediaTime, trace, this.#results.recycle);
  }

  /** Idempotent. */
  close(): void {
    this.#direct?.freeContext();
    this.#direct = undefined;
    this.#general?.context.freeContext();
    this.#general?.rgb.free();
    this.#general = undefined;
    this.#results.close();
  }

  #writeDirect(source: Float32Array, { rowValues, rows }: RgbLayout, result: Frame): number {
    const width = this.#width;
    const height = this.#height;
    if (this.#direct === undefined) {
      this.#direct = new SoftwareScaleContext();
      this.#direct.getContext(width, height, AV_PIX_FMT_GBRPF32LE, width, height, AV_PIX_FMT_YUV420P, SWS_BICUBIC);
    }
    const planeBytes = rows * rowValues * 4;
    const planes = TENSOR_PLANE.map((plane) =>
      Buffer.from(source.buffer, source.byteOffset + plane * planeBytes, planeBytes),
    );
    const strides = TENSOR_PLANE.map(() => rowValues * 4);
    const [yStride = 0, uStride = 0, vStride = 0] = result.linesize;
    return this.#direct.scaleSync(planes, strides, 0, height, [...planesOf(result)], [yStride, uStride, vStride]);
  }

  #writeGeneral(source: Float32Array, { rowValues, rows }: RgbLayout, result: Frame): number {
    this.#general ??= { context: openScaleContext('bicubic', 1, true), rgb: allocateRgb(this.#width, this.#height) };
    const { context, rgb } = this.#general;
    forEachPlane(rgb, (plane, planeStride, index) => {
      const base = (TENSOR_PLANE[index] ?? 0) * rows * rowValues;
      for (let row = 0; row < this.#height; row += 1) {
        const from = base + row * rowValues;
        plane.set(source.subarray(from, from + this.#width), row * planeStride);
      }
    });
    return context.scaleFrameSync(result, rgb);
  }
}

/** A planar float RGB frame. */
export function allocateRgb(width: number, height: number): Frame {
  const frame = allocateFrame(width, height, AV_PIX_FMT_GBRPF32LE);
  frame.colorSpace = AVCOL_SPC_RGB;
  frame.colorRange = AVCOL_RANGE_JPEG;
  return frame;
}

function copyRgb(rgb: Frame, target: Float32Array, { rowValues, rows }: RgbLayout): void {
  forEachPlane(rgb, (plane, planeStride, index) => {
    const base = (TENSOR_PLANE[index] ?? 0) * rows * rowValues;
    for (let row = 0; row < rgb.height; row += 1) {
      const from = row * planeStride;
      target.set(plane.subarray(from, from + rgb.width), base + row * rowValues);
    }
  });
}

/** @param visit gets each plane as floats and its row length in values */
function forEachPlane(rgb: Frame, visit: (plane: Float32Array, rowValues: number, index: number) => void): void {
  planesOf(rgb).forEach((bytes, index) => {
    const plane = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    visit(plane, (rgb.linesize[index] ?? 0) >> 2, index);
  });
}
