import type { MonotonicUs } from '../media/types.ts';

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Less than this more pixels is not worth a break in the picture. */
const WORTH_PIXELS = 1.2;

/** A smaller source must have lasted this many times as long as a larger one: it may be a bad moment of the line. */
const SHRINK_PATIENCE = 4;

/**
 * Detects that a source has another size for good. Browsers begin small and get larger as their estimate of the line rises (180p,
 * then 270p, then 360p within seconds): a result four times the first of these sizes would stay a bad one. They also get
 * smaller for a while when the line is bad: then the result keeps its size. A source that stays smaller gets the smaller result: a
 * larger one would cost encoder and viewers bits for pictures that were enlarged twice. Time is an argument.
 */
export class GrowthWatch {
  readonly #afterUs: number;
  #seen: { readonly size: Size; readonly sinceUs: MonotonicUs } | undefined;
  /** No stream could be opened for this size. */
  #refused: Size | undefined;

  /** @param afterMs how long a larger size must have lasted, a smaller one four times that; 0: the first size stays */
  constructor(afterMs: number) {
    this.#afterUs = afterMs * 1000;
  }

  /** @param stream the size results are made from now. @returns true when they should be made from `source` */
  changed(source: Size, stream: Size, nowUs: MonotonicUs): boolean {
    const larger = pixels(source) >= WORTH_PIXELS * pixels(stream);
    const smaller = pixels(stream) >= WORTH_PIXELS * pixels(source);
    if (this.#afterUs === 0 || (!larger && !smaller) || same(source, this.#refused)) {
      this.#seen = undefined;
      return false;
    }
    if (this.#seen === undefined || !same(source, this.#seen.size)) this.#seen = { size: source, sinceUs: nowUs };
    return nowUs - this.#seen.sinceUs >= this.#afterUs * (larger ? 1 : SHRINK_PATIENCE);
  }

  /** This size is not asked for again. */
  refuse(size: Size): void {
    this.#refused = size;
  }
}

const pixels = ({ width, height }: Size): number => width * height;
const same = (a: Size, b: Size | undefined): boolean => a.width === b?.width && a.height === b.height;
