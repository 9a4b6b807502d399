import { Unwrapper } from './sequence.ts';
import { VIDEO_CLOCK_HZ, type MediaTime, type MonotonicUs } from './types.ts';

/** A timestamp further off than this from where wall time says it should be is a restarted clock. */
const MAX_DRIFT_TICKS = 10 * VIDEO_CLOCK_HZ;
const MAX_BACKWARD_TICKS = VIDEO_CLOCK_HZ;
/** Smallest step over a change of stream, so that two pictures never share a time: 1/60 s. */
const MIN_STEP_TICKS = 1500;

/**
 * The media time of one broadcast: unwrapped RTP timestamps of the publisher, continued without a step back when its
 * SSRC changes, its clock restarts, or another connection takes over. One instance lives as long as the broadcast.
 */
export class RtpClock {
  #stream: unknown;
  #unwrapper = new Unwrapper(32);
  #offset = 0;
  #newest: { mediaTime: MediaTime; atUs: MonotonicUs } | undefined;

  /** The newest media time handed out. */
  get newest(): MediaTime | undefined {
    return this.#newest?.mediaTime;
  }

  /**
   * @param stream identifies the RTP stream (any value compared with ===); a new one continues after the old
   * @param timestamp 32 bit RTP timestamp at 90 kHz
   */
  map(stream: unknown, timestamp: number, nowUs: MonotonicUs): MediaTime {
    if (stream !== this.#stream || this.#newest === undefined) return this.#anchor(stream, timestamp, nowUs);
    const mediaTime = this.#unwrapper.unwrap(timestamp) + this.#offset;
    const expected = this.#newest.mediaTime + ticks(nowUs - this.#newest.atUs);
    if (mediaTime < this.#newest.mediaTime - MAX_BACKWARD_TICKS || mediaTime > expected + MAX_DRIFT_TICKS) {
      return this.#anchor(stream, timestamp, nowUs);
    }
    this.#advance(mediaTime, nowUs);
    return mediaTime;
  }

  /** Where a timestamp of the current stream lies, without moving the clock (sender reports). */
  peek(stream: unknown, timestamp: number): MediaTime | undefined {
    return stream === this.#stream ? this.#unwrapper.peek(timestamp) + this.#offset : undefined;
  }

  #anchor(stream: unknown, timestamp: number, nowUs: MonotonicUs): MediaTime {
    this.#stream = stream;
    this.#unwrapper = new Unwrapper(32);
    this.#unwrapper.unwrap(timestamp);
    const last = this.#newest;
    const mediaTime =
      last === undefined ? timestamp : last.mediaTime + Math.max(MIN_STEP_TICKS, ticks(nowUs - last.atUs));
    this.#offset = mediaTime - timestamp;
    this.#advance(mediaTime, nowUs);
    return mediaTime;
  }

  #advance(mediaTime: MediaTime, nowUs: MonotonicUs): void {
    if (this.#newest === undefined || mediaTime > this.#newest.mediaTime) this.#newest = { mediaTime, atUs: nowUs };
  }
}

function ticks(us: number): number {
  return Math.round((us * VIDEO_CLOCK_HZ) / 1_000_000);
}
