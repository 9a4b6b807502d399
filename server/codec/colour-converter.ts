import { type Frame, type SoftwareScaleContext } from 'node-av/lib';
import type { MediaTime, Colour } from '../media/types.ts';
import type { FrameTrace } from '../media/steps.ts';
import { setFrameColour } from './colour.ts';
import { FramePicture, FramePool } from './frame-picture.ts';
import { check } from './native.ts';
import { allocateRgb } from './rgb.ts';
import { openScaleContext } from './scaler.ts';

/**
 * Any pixel format, matrix and range to YUV 4:2:0 of one colour and the same size, by way of float RGB: swscale's direct
 * YUV to YUV path rounds through 8-bit RGB and misses by up to 3 levels, this one by less than 1.5.
 */
export class ColourConverter {
  readonly width: number;
  readonly height: number;
  readonly #colour: Colour;
  readonly #toRgb: SoftwareScaleContext = openScaleContext('bicubic', 1, true);
  readonly #fromRgb: SoftwareScaleContext = openScaleContext('bicubic', 1, true);
  readonly #rgb: Frame;
  readonly #results: FramePool;

  constructor(width: number, height: number, colour: Colour) {
    this.width = width;
    this.height = height;
    this.#colour = colour;
    this.#rgb = allocateRgb(width, height);
    this.#results = new FramePool(width, height);
  }

  /** @param colour matrix and range of `frame`, which stays the caller's. @throws AppError internal */
  convert(frame: Frame, colour: Colour, mediaTime: MediaTime, trace: FrameTrace): FramePicture {
    setFrameColour(frame, colour);
    check(this.#toRgb.scaleFrameSync(this.#rgb, frame), `Converting ${this.width}x${this.height} to RGB`, 'internal');
    const result = this.#results.acquire();
    setFrameColour(result, this.#colour);
    const code = this.#fromRgb.scaleFrameSync(result, this.#rgb);
    if (code < 0) this.#results.recycle(result);
    check(code, `Converting ${this.width}x${this.height} from RGB`, 'internal');
    return new FramePicture(result, this.#colour, mediaTime, trace, this.#results.recycle);
  }

  /** Idempotent. */
  close(): void {
    this.#toRgb.freeContext();
    this.#fromRgb.freeContext();
    this.#rgb.free();
    this.#results.close();
  }
}
