import type { MonotonicUs } from '../media/types.ts';
import type { UpscalerStream } from '../upscalers/upscaler.ts';

/**
 * How long an upscaler stream has worked: by its own count where it has one, else by the clock while pictures are inside. Time is
 * an argument.
 */
export class BusyTime {
  #totalUs = 0;
  /** Pictures are inside since then; only for streams that do not count. */
  #sinceUs: MonotonicUs | undefined;
  /** Of the stream's own count, already in the total. */
  #countedUs = 0;

  /** Another stream takes pictures. */
  restart(stream: UpscalerStream): void {
    this.#sinceUs = undefined;
    this.#countedUs = stream.busyUs ?? 0;
  }

  /** A picture goes in. */
  begin(nowUs: MonotonicUs): void {
    this.#sinceUs ??= nowUs;
  }

  /** Nothing is inside any more. */
  end(stream: UpscalerStream, nowUs: MonotonicUs): void {
    if (this.#sinceUs !== undefined && stream.busyUs === undefined) this.#totalUs += nowUs - this.#sinceUs;
    this.#sinceUs = undefined;
  }

  /** Microseconds since the last call. */
  take(stream: UpscalerStream | undefined, nowUs: MonotonicUs): number {
    if (stream?.busyUs !== undefined) {
      this.#totalUs += stream.busyUs - this.#countedUs;
      this.#countedUs = stream.busyUs;
    } else if (this.#sinceUs !== undefined) {
      this.#totalUs += nowUs - this.#sinceUs;
      this.#sinceUs = nowUs;
    }
    const busyUs = this.#totalUs;
    this.#totalUs = 0;
    return busyUs;
  }
}
