import type { Picture } from './picture.ts';
import { VIDEO_CLOCK_HZ, type MediaTime } from './types.ts';

/** What of a picture's luma looks drawn: text, lines, charts. Shares of the blocks looked at, 0..1. */
export interface DrawnShares {
  /** Blocks with a thin stroke on an even ground: what a small model makes thinner or removes. */
  readonly strokes: number;
  /** Blocks without any detail: paper, windows, a blurred wall. */
  readonly even: number;
  /** Blocks that are as bright as in the picture before; 0 for the first picture. */
  readonly still: number;
}

/** Brightness of the blocks of the picture before, to be handed to the next call; filled by `drawnShares`. */
export type BlockSums = Uint16Array;

const BLOCK = 8;
/** Blocks looked at in one picture, spread over it: a tenth of a millisecond, whatever the picture's size. */
const MAX_BLOCKS = 1200;
/** Luma levels between darkest and brightest. Below: an even block, with what coding leaves in one. */
const EVEN_RANGE = 10;
/** Strokes that are worth keeping stand out by this much. */
const STROKE_RANGE = 56;
/** The ground: samples within this share of the range from one of its ends. */
const GROUND_TOLERANCE = 1 / 7;
const MIN_GROUND_SAMPLES = 0.38 * BLOCK * BLOCK;
/** A step of this share of the range from one sample to the next but one is an edge: thin strokes are soft after scaling. */
const EDGE = 0.45;
/** A block's sum of luma may change by this much without anything having moved: half a level a sample. */
const STILL_SUM = (BLOCK * BLOCK) / 2;
/** Lines of a block (of 16 rows and columns) that a stroke crosses: up and down again. One is a speck. */
const MIN_CROSSED = 3;

export function newBlockSums(): BlockSums {
  return new Uint16Array(MAX_BLOCKS).fill(0xffff);
}

/**
 * Looks at a grid of 8x8 blocks of the luma plane. Worst case: 1200 blocks.
 *
 * @param picture 8 bits
 * @param sums of the picture before, of the same size; replaced by this one's
 */
export function drawnShares({ width, height, y, yStride }: Picture, sums: BlockSums = newBlockSums()): DrawnShares {
  const columns = Math.floor(width / BLOCK);
  const rows = Math.floor(height / BLOCK);
  const all = columns * rows;
  if (all === 0) return { strokes: 0, even: 0, still: 0 };
  // A step that is no divisor of a row of blocks: else the same columns would be looked at in every row.
  let step = Math.max(1, Math.ceil(all / MAX_BLOCKS));
  if (step > 1 && columns % step === 0) step += 1;
  let seen = 0;
  let strokes = 0;
  let even = 0;
  let still = 0;
  for (let index = 0; index < all; index += step) {
    const start = Math.floor(index / columns) * BLOCK * yStride + (index % columns) * BLOCK;
    const kind = kindOf(y, start, yStride);
    const sum = sumOf(y, start, yStride);
    if (Math.abs(sum - (sums[seen] ?? 0)) <= STILL_SUM) still += 1;
    sums[seen] = sum;
    seen += 1;
    if (kind === 'stroke') strokes += 1;
    else if (kind === 'even') even += 1;
  }
  return { strokes: strokes / seen, even: even / seen, still: still / seen };
}

function sumOf(y: Uint8Array, start: number, stride: number): number {
  let sum = 0;
  for (let row = 0; row < BLOCK; row += 1) {
    const at = start + row * stride;
    for (let column = 0; column < BLOCK; column += 1) sum += y[at + column] ?? 0;
  }
  return sum;
}

function kindOf(y: Uint8Array, start: number, stride: number): 'even' | 'stroke' | 'other' {
  let low = 255;
  let high = 0;
  for (let row = 0; row < BLOCK; row += 1) {
    const at = start + row * stride;
    for (let column = 0; column < BLOCK; column += 1) {
      const value = y[at + column] ?? 0;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  const range = high - low;
  if (range <= EVEN_RANGE) return 'even';
  if (range < STROKE_RANGE) return 'other';
  const tolerance = range * GROUND_TOLERANCE;
  let dark = 0;
  let bright = 0;
  for (let row = 0; row < BLOCK; row += 1) {
    const at = start + row * stride;
    for (let column = 0; column < BLOCK; column += 1) {
      const value = y[at + column] ?? 0;
      if (value - low <= tolerance) dark += 1;
      else if (high - value <= tolerance) bright += 1;
    }
  }
  if (Math.max(dark, bright) < MIN_GROUND_SAMPLES) return 'other';
  const edge = range * EDGE;
  let crossed = 0;
  for (let line = 0; line < BLOCK; line += 1) {
    if (crosses(y, start + line * stride, 1, edge)) crossed += 1;
    if (crosses(y, start + line, stride, edge)) crossed += 1;
  }
  return crossed >= MIN_CROSSED ? 'stroke' : 'other';
}

/** Whether a line of samples goes up and down again, or down and up, by `edge`. */
function crosses(y: Uint8Array, start: number, step: number, edge: number): boolean {
  let low = y[start] ?? 0;
  let high = low;
  let rose = false;
  let fell = false;
  for (let index = 1; index < BLOCK; index += 1) {
    const value = y[start + index * step] ?? 0;
    if (value - low >= edge) {
      if (fell) return true;
      rose = true;
      low = high = value;
    } else if (high - value >= edge) {
      if (rose) return true;
      fell = true;
      low = high = value;
    }
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return false;
}

/**
 * A picture counts as drawn when this share of it, and of those blocks that have any detail, is strokes. Measured: screens 0.04-0.5 and
 * 0.4-0.7, cameras at most 0.1 and 0.2; and between the two after coding at low rates. What was drawn stays so down to less.
 */
const STROKES_IN = 0.03;
const STROKES_OUT = 0.02;
const OF_DETAIL_IN = 0.24;
const OF_DETAIL_OUT = 0.12;
/** Pages have even ground; dense tables have little, but they stand still, as foliage and fences before a camera do not. */
const EVEN = 0.2;
const STILL = 0.5;
/** Pictures in a row that must agree: one may be a flash or a damaged one. */
const PICTURES_IN = 3;
/** How long the content must have been another before the model comes back. */
const OUT_AFTER_TICKS = 3 * VIDEO_CLOCK_HZ;

/**
 * Whether a source shows drawn content (screens, slides, pages of text): at once when it does, and for three seconds after it
 * did last, so that a page that is scrolled past pictures changes once. Time is the pictures' own.
 */
export class DrawnContentWatch {
  #drawn = false;
  #inARow = 0;
  #lastSeen: MediaTime | undefined;
  readonly #sums = newBlockSums();

  get drawn(): boolean {
    return this.#drawn;
  }

  /** @returns whether the source shows drawn content now */
  see(picture: Picture): boolean {
    const { strokes, even, still } = drawnShares(picture, this.#sums);
    const [least, leastOfDetail] = this.#drawn ? [STROKES_OUT, OF_DETAIL_OUT] : [STROKES_IN, OF_DETAIL_IN];
    const ground = even >= EVEN || still >= STILL;
    if (ground && strokes >= Math.max(least, leastOfDetail * (1 - even))) {
      this.#inARow += 1;
      this.#lastSeen = picture.mediaTime;
      if (this.#inARow >= PICTURES_IN) this.#drawn = true;
      return this.#drawn;
    }
    this.#inARow = 0;
    if (this.#drawn && picture.mediaTime - (this.#lastSeen ?? -Infinity) >= OUT_AFTER_TICKS) this.#drawn = false;
    return this.#drawn;
  }

  /** Another source. */
  restart(): void {
    this.#drawn = false;
    this.#inARow = 0;
    this.#lastSeen = undefined;
  }
}
