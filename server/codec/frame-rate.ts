import { VIDEO_CLOCK_HZ, type MediaTime } from '../media/types.ts';

const WINDOW = 31;

/** Frames a second by the publisher's own clock: the median of the last second's intervals, blind to pauses and bursts. */
export class FrameRateMeter {
  readonly #intervals: number[] = [];
  #last: MediaTime | undefined;

  add(mediaTime: MediaTime): void {
    const last = this.#last;
    this.#last = mediaTime;
    if (last === undefined || mediaTime <= last) return;
    this.#intervals.push(mediaTime - last);
    if (this.#intervals.length > WINDOW) this.#intervals.shift();
  }

  /** 1..120; `fallback` until three intervals were seen. */
  framesPerSecond(fallback = 30): number {
    if (this.#intervals.length < 3) return fallback;
    const sorted = [...this.#intervals].sort((a, b) => a - b);
    const median = sorted[sorted.length >> 1] ?? VIDEO_CLOCK_HZ / fallback;
    return Math.min(120, Math.max(1, VIDEO_CLOCK_HZ / median));
  }
}
