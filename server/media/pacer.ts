import { VIDEO_CLOCK_HZ, type MediaTime, type MonotonicUs } from './types.ts';

const US_PER_TICK = 1e6 / VIDEO_CLOCK_HZ;
/** To lower the delay, frames leave up to this much faster than they came, which is not visible. */
const CATCH_UP_SHARE = 0.15;
/** This far from it they run faster for a while: a delay that is much too long is worse. */
const FAR_US = 300_000;
const FAR_CATCH_UP_SHARE = 0.4;
/** Over how long the earliest arrival is remembered; it forgets in two halves, so between this and half of it. */
const BASELINE_WINDOW_US = 10_000_000;

/**
 * Where the publisher's media time lies on this machine's clock: the earliest arrival seen lately, so that network jitter
 * and queues do not move it, while a drifting publisher clock is followed within seconds.
 */
export class MediaTimeline {
  #current: { startUs: MonotonicUs; offsetUs: number } | undefined;
  #previousOffsetUs = Infinity;

  onArrival(mediaTime: MediaTime, arrivedAtUs: MonotonicUs): void {
    const offsetUs = arrivedAtUs - mediaTime * US_PER_TICK;
    if (this.#current === undefined) {
      this.#current = { startUs: arrivedAtUs, offsetUs };
    } else if (arrivedAtUs - this.#current.startUs > BASELINE_WINDOW_US / 2) {
      this.#previousOffsetUs = this.#current.offsetUs;
      this.#current = { startUs: arrivedAtUs, offsetUs };
    } else {
      this.#current.offsetUs = Math.min(this.#current.offsetUs, offsetUs);
    }
  }

  /** When a picture of this media time arrived or would have, undelayed. undefined before the first arrival */
  arrivalOf(mediaTime: MediaTime): MonotonicUs | undefined {
    if (this.#current === undefined) return undefined;
    return mediaTime * US_PER_TICK + Math.min(this.#current.offsetUs, this.#previousOffsetUs);
  }

  restart(): void {
    this.#current = undefined;
    this.#previousOffsetUs = Infinity;
  }
}

export interface PacerOptions {
  /** From arrival to release: what an upscaler needs for its chunk, its look-ahead and its own work. */
  readonly presentationDelayMs: number;
  /** Later than this after its time a frame is dropped instead of released. */
  readonly maxLateMs: number;
  /** Frames held at most; more means the upscaler runs ahead of the clock, and the oldest leave early. */
  readonly maxFrames?: number;
}

/**
 * Releases frames at media time + presentation delay, in order. An upscaler that works in chunks delivers eight frames at
 * once: paced, they leave one frame interval apart; late ones leave at once. No timers: call take() at nextDueAtUs. O(1) a
 * frame; take() leaves at most maxFrames behind.
 */
export class FramePacer<Frame> {
  readonly #timeline = new MediaTimeline();
  readonly #maxLateUs: number;
  readonly #maxFrames: number;
  readonly #queue: { readonly frame: Frame; readonly mediaTime: MediaTime }[] = [];
  #delayUs: number;
  /** Where #delayUs is going. */
  #targetUs: number;
  #released = -Infinity;

  constructor({ presentationDelayMs, maxLateMs, maxFrames = 64 }: PacerOptions) {
    this.#delayUs = this.#targetUs = presentationDelayMs * 1000;
    this.#maxLateUs = maxLateMs * 1000;
    this.#maxFrames = maxFrames;
  }

  get length(): number {
    return this.#queue.length;
  }

  /** Up at once: the frames are late anyway. Down frame by frame, so that motion stays even. Ladder rungs do not call this. */
  setPresentationDelay(delayMs: number): void {
    this.#targetUs = delayMs * 1000;
    this.#delayUs = Math.max(this.#delayUs, this.#targetUs);
  }

  /** @param receivedAtUs when the frame's access unit arrived, whatever happened to it since */
  push(frame: Frame, mediaTime: MediaTime, receivedAtUs: MonotonicUs): void {
    this.#timeline.onArrival(mediaTime, receivedAtUs);
    this.#queue.push({ frame, mediaTime });
  }

  /**
   * @returns frames to release now, and those too late to be of use (`pace-late`), each in order; `lateMs`: by how much each
   *   due frame missed its time (0: on time)
   */
  take(nowUs: MonotonicUs): { readonly due: Frame[]; readonly late: Frame[]; readonly lateMs: number[] } {
    const due: Frame[] = [];
    const late: Frame[] = [];
    const lateMs: number[] = [];
    for (;;) {
      const head = this.#queue[0];
      if (head === undefined) break;
      const dueAtUs = this.#dueAtUs(head.mediaTime);
      if (dueAtUs > nowUs && this.#queue.length <= this.#maxFrames) break;
      this.#queue.shift();
      // A frame behind one already released would run backwards at the viewer.
      if (head.mediaTime <= this.#released || nowUs - dueAtUs > this.#maxLateUs) {
        late.push(head.frame);
      } else {
        this.#catchUp(head.mediaTime);
        this.#released = head.mediaTime;
        due.push(head.frame);
        lateMs.push(Math.max(0, nowUs - dueAtUs) / 1000);
      }
    }
    return { due, late, lateMs };
  }

  /** Time since the frame's (jitter-free) arrival. Call after push(). */
  sinceArrivalMs(mediaTime: MediaTime, nowUs: MonotonicUs): number {
    return (nowUs - (this.#timeline.arrivalOf(mediaTime) ?? nowUs)) / 1000;
  }

  /** When take() has something next; undefined when nothing is held. */
  get nextDueAtUs(): MonotonicUs | undefined {
    const head = this.#queue[0];
    return head === undefined ? undefined : this.#dueAtUs(head.mediaTime);
  }

  clear(): void {
    this.#queue.length = 0;
    this.#released = -Infinity;
    this.#timeline.restart();
  }

  #catchUp(mediaTime: MediaTime): void {
    if (this.#delayUs === this.#targetUs || this.#released === -Infinity) return;
    const share = this.#delayUs - this.#targetUs > FAR_US ? FAR_CATCH_UP_SHARE : CATCH_UP_SHARE;
    const stepUs = share * (mediaTime - this.#released) * US_PER_TICK;
    this.#delayUs = Math.max(this.#targetUs, this.#delayUs - stepUs);
  }

  #dueAtUs(mediaTime: MediaTime): MonotonicUs {
    return (this.#timeline.arrivalOf(mediaTime) ?? 0) + this.#delayUs;
  }
}
