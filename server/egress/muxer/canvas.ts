import { PictureScaler } from '../../codec/scaler.ts';
import type { Picture } from '../../media/picture.ts';

/** Of BT.601, limited range. */
const BLACK = { luma: 16, chroma: 128 };

/**
 * A picture surface of one size, planar 4:2:0 without padding: pictures of any size are fitted into its middle, and what they leave
 * free is black.
 */
export class Canvas {
  readonly width: number;
  readonly height: number;
  readonly #pixels: Buffer;
  #scaler: PictureScaler | undefined;

  /** @param width, height even */
  constructor(width: number, height: number) {
    this.width = width;
    this.height = height;
    this.#pixels = Buffer.alloc((width * height * 3) / 2, BLACK.chroma);
    this.#pixels.fill(BLACK.luma, 0, width * height);
  }

  /** @returns the surface itself: it changes with the next picture */
  draw(picture: Picture): Buffer {
    const share = Math.min(this.width / picture.width, this.height / picture.height);
    const [width, height] = [even(picture.width * share, this.width), even(picture.height * share, this.height)];
    if (width === picture.width && height === picture.height) {
      this.#copy(picture);
      return this.#pixels;
    }
    if (this.#scaler?.width !== width || this.#scaler.height !== height) {
      this.#scaler?.close();
      this.#scaler = new PictureScaler(width, height);
    }
    const fitted = this.#scaler.scale(picture);
    this.#copy(fitted);
    fitted.release();
    return this.#pixels;
  }

  /** Idempotent. */
  close(): void {
    this.#scaler?.close();
    this.#scaler = undefined;
  }

  #copy(picture: Picture): void {
    const { width, height, y, u, v, yStride, uvStride } = picture;
    const chroma = (this.width * this.height) / 4;
    this.#plane(0, this.width, this.height, y, yStride, width, height, BLACK.luma);
    for (const [index, plane] of [u, v].entries()) {
      const start = this.width * this.height + index * chroma;
      this.#plane(start, this.width / 2, this.height / 2, plane, uvStride, width / 2, height / 2, BLACK.chroma);
    }
  }

  /** A plane of `width` x `height` into the middle of ours, which begins at `start`. */
  #plane(
    start: number,
    ownWidth: number,
    ownHeight: number,
    plane: Uint8Array,
    stride: number,
    width: number,
    height: number,
    black: number,
  ): void {
    const [left, top] = [(ownWidth - width) >> 1, (ownHeight - height) >> 1];
    // The last picture may have had another shape.
    if (left > 0 || top > 0) this.#pixels.fill(black, start, start + ownWidth * ownHeight);
    for (let row = 0; row < height; row += 1) {
      this.#pixels.set(plane.subarray(row * stride, row * stride + width), start + (top + row) * ownWidth + left);
    }
  }
}

/** The nearest even number that fits. */
function even(length: number, most: number): number {
  return Math.max(2, Math.min(most, 2 * Math.round(length / 2)));
}
