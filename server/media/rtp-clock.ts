import { Unwrapper } from './sequence.ts';
import { VIDEO_CLOCK_HZ, type MediaTime, type MonotonicUs } from './types.ts';

/** A timestamp further off than this from where wall time says it should be is a restarted clock. */
const MAX_DRIFT_TICKS = 10 * VIDEO_CLOCK_HZ;
const MAX_BACKWARD_TICKS = VIDEO_CLOCK_HZ;
/** Smallest step over a change of stream, so that two pictures never share a time: 1/60 s. */
const MIN_STEP_TICKS = 1500;
/** Pictures in a row that may lie behind the newest: the deepest reordering of H.264 (max_dec_frame_buffering, A.3.1). */
const MAX_BEHIND = 16;
/** What a picture with its predecessor's timestamp counts for: reordering does not explain it, but some senders split one. */
const REPEATED = 5;
/** Pictures in a row whose timestamps advance before the publisher's clock is believed again. */
const RECOVERED = 30;

/**
 * The media time of one broadcast: unwrapped RTP timestamps of the publisher, continued without a step back when its
 * SSRC changes, its clock restarts, or another connection takes over. One instance lives as long as the broadcast.
 *
 * A publisher whose timestamps stand still or run backwards would freeze its viewers' pictures. Its pictures get the time of
 * their arrival until its clock has advanced for a second; `restamped` counts them. O(1) a packet.
 */
export class RtpClock {
  #stream: unknown;
  #unwrapper = new Unwrapper(32);
  #offset = 0;
  #newest: { mediaTime: MediaTime; atUs: MonotonicUs } | undefined;
  #picture: { timestamp: number; unwrapped: number; mediaTime: MediaTime; complete: boolean } | undefined;
  /** Evidence against the publisher's clock; beyond MAX_BEHIND it is not believed. */
  #behind = 0;
  /** Not believed: pictures in a row that advanced all the same. */
  #advanced: number | undefined;
  #restamped = 0;

  /** The newest media time handed out. */
  get newest(): MediaTime | undefined {
    return this.#newest?.mediaTime;
  }

  /** Pictures that got the time of their arrival because the publisher's timestamps did not advance. */
  get restamped(): number {
    return this.#restamped;
  }

  /**
   * @param stream identifies the RTP stream (any value compared with ===); a new one continues after the old
   * @param timestamp 32 bit RTP timestamp at 90 kHz, of packets in order
   * @param marker the packet is its picture's last
   */
  map(stream: unknown, timestamp: number, nowUs: MonotonicUs, marker = false): MediaTime {
    const picture = this.#picture;
    if (stream === this.#stream && picture !== undefined && picture.timestamp === timestamp && !picture.complete) {
      picture.complete = marker;
      return picture.mediaTime;
    }
    const mediaTime = this.#mapPicture(stream, timestamp, nowUs);
    this.#picture = { timestamp, unwrapped: this.#unwrapper.peek(timestamp), mediaTime, complete: marker };
    return mediaTime;
  }

  /** Where a timestamp of the current stream lies, without moving the clock (sender reports). */
  peek(stream: unknown, timestamp: number): MediaTime | undefined {
    return stream === this.#stream ? this.#unwrapper.peek(timestamp) + this.#offset : undefined;
  }

  #mapPicture(stream: unknown, timestamp: number, nowUs: MonotonicUs): MediaTime {
    if (stream !== this.#stream || this.#newest === undefined) {
      this.#behind = 0;
      this.#advanced = undefined;
      return this.#anchor(stream, timestamp, nowUs);
    }
    const newest = this.#unwrapper.newest ?? 0;
    const unwrapped = this.#unwrapper.unwrap(timestamp);
    if (this.#advanced !== undefined) {
      if (!this.#recovers(unwrapped, this.#advanced)) return this.#byArrival(unwrapped, nowUs);
      return this.#anchor(stream, timestamp, nowUs);
    }
    if (unwrapped > newest) this.#behind = 0;
    else this.#behind += timestamp === this.#picture?.timestamp ? REPEATED : 1;
    if (this.#behind > MAX_BEHIND) {
      this.#advanced = 0;
      return this.#byArrival(unwrapped, nowUs);
    }
    const mediaTime = unwrapped + this.#offset;
    const expected = this.#newest.mediaTime + ticks(nowUs - this.#newest.atUs);
    if (mediaTime < this.#newest.mediaTime - MAX_BACKWARD_TICKS || mediaTime > expected + MAX_DRIFT_TICKS) {
      return this.#anchor(stream, timestamp, nowUs);
    }
    this.#advance(mediaTime, nowUs);
    return mediaTime;
  }

  /** @param advanced pictures before this one that advanced in a row */
  #recovers(unwrapped: number, advanced: number): boolean {
    const step = unwrapped - (this.#picture?.unwrapped ?? unwrapped);
    this.#advanced = step > 0 && step <= MAX_BACKWARD_TICKS ? advanced + 1 : 0;
    if (this.#advanced <= RECOVERED) return false;
    this.#advanced = undefined;
    this.#behind = 0;
    return true;
  }

  /** The offset follows, so that sender reports are read relative to the newest picture. */
  #byArrival(unwrapped: number, nowUs: MonotonicUs): MediaTime {
    const last = this.#newest ?? { mediaTime: 0, atUs: nowUs };
    const mediaTime = last.mediaTime + Math.max(1, ticks(nowUs - last.atUs));
    this.#offset = mediaTime - unwrapped;
    this.#restamped += 1;
    this.#advance(mediaTime, nowUs);
    return mediaTime;
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
