import type { FrameTrace } from '../media/steps.ts';
import type { MediaTime, MonotonicUs } from '../media/types.ts';

interface Unit {
  readonly stamp: MediaTime;
  readonly trace: FrameTrace;
}

/** Units inside a decoder are at most 16 (max_dec_frame_buffering, H.264 section A.3.1); older ones never became a picture. */
const MAX_UNITS = 64;

/**
 * The times of pictures that a decoder hands out in another order than their units came in (B-frames). Streams come with one
 * of two clocks:
 *
 * - `presentation`: RTP timestamps are presentation times (RFC 6184 section 5.1) and run backwards in decoding order. A picture
 *   has the time of its own unit.
 * - `decoding`: OBS sends decoding times, which always advance. x264's decoding time of the n-th unit is the presentation time of
 *   the picture that comes out with it, so a picture has the time of the unit that released it. Recognised by a picture that
 *   comes out with an earlier timestamp than the picture before it.
 *
 * A picture that leaves with its own unit has that unit's time either way: streams without B-frames are not touched.
 */
export class PresentationOrder {
  readonly #units = new Map<number, Unit>();
  #nextId = 0;
  #clock: 'presentation' | 'decoding' = 'presentation';
  /** Of the units so far: the highest timestamp, the last unit, and the time between the last two. */
  #highest = -Infinity;
  #newest: { readonly id: number; readonly stamp: MediaTime; readonly receivedAtUs: MonotonicUs } | undefined;
  #interval = 0;
  /** Timestamp of the unit whose picture left last. */
  #left = -Infinity;

  get clock(): 'presentation' | 'decoding' {
    return this.#clock;
  }

  /** Timestamp of the last unit that came in. */
  get newestStamp(): MediaTime | undefined {
    return this.#newest?.stamp;
  }

  /** @returns the unit's number, which the decoder hands out with its picture */
  enter(stamp: MediaTime, trace: FrameTrace): number {
    const id = this.#nextId;
    this.#nextId += 1;
    if (stamp < this.#highest) this.#clock = 'presentation';
    else if (this.#newest !== undefined && stamp > this.#newest.stamp) this.#interval = stamp - this.#newest.stamp;
    this.#highest = Math.max(this.#highest, stamp);
    this.#newest = { id, stamp, receivedAtUs: trace.receivedAtUs };
    this.#units.set(id, { stamp, trace });
    this.#units.delete(id - MAX_UNITS);
    return id;
  }

  /**
   * A picture has come out. Sets `heldUs` of its trace.
   * @param flushed which picture of a flush it is, from 1; 0: it came out with the newest unit
   * @returns undefined for a unit that was forgotten
   */
  leave(id: number, flushed = 0): { readonly mediaTime: MediaTime; readonly trace: FrameTrace } | undefined {
    const unit = this.#units.get(id);
    const newest = this.#newest;
    if (unit === undefined || newest === undefined) return undefined;
    this.#units.delete(id);
    if (unit.stamp < this.#left) this.#clock = 'decoding';
    this.#left = unit.stamp;
    const { trace, stamp } = unit;
    if (id === newest.id && flushed === 0) return { mediaTime: stamp, trace };
    trace.heldUs = Math.max(0, newest.receivedAtUs - trace.receivedAtUs);
    return { mediaTime: this.#clock === 'decoding' ? newest.stamp + flushed * this.#interval : stamp, trace };
  }

  /** Units before this one never become a picture (hidden frames of VP8 and VP9). */
  forgetBefore(id: number): void {
    for (const key of this.#units.keys()) if (key < id) this.#units.delete(key);
  }

  /** The decoder is as new; the clock's kind is that of the stream, and stays. */
  clear(): void {
    this.#units.clear();
    this.#highest = this.#left = -Infinity;
    this.#newest = undefined;
  }
}
