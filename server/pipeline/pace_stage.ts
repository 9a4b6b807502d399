import type { Picture, UpscalerInfo } from '../engine/upscaler.ts';
import { monotonicUs } from '../media/clock.ts';
import { FramePacer } from '../media/pacer.ts';
import type { DropReason } from '../media/types.ts';
import { presentationDelayMs } from './presentation.ts';

export interface PaceStageOptions {
  readonly info: UpscalerInfo;
  readonly framesPerSecond: number;
  readonly onPicture: (picture: Picture) => void;
  readonly onDrop: (reason: DropReason) => void;
}

/** The delay follows the frame rate only when it would change by more than this, for so many seconds. */
const STEP_SHARE = 0.25;
const STEP_AFTER_SECONDS = 2;
/** Released later than this counts as late: it would show as uneven motion. */
const LATE_MS = 15;
/** More than this share of a second's pictures late, for STEP_AFTER_SECONDS: the delay is too small for this engine. */
const LATE_SHARE = 0.2;
/** Room above the lateness seen, so that one step is enough. */
const LATE_MARGIN_MS = 20;
/** All pictures of so many seconds were there this early: a delay that was stepped up is stepped down again. */
const EARLY_MS = 80;
const EARLY_SECONDS = 10;
/** The delay grows by at most so many chunks: beyond that the engine does not keep up, which the ladder is for. */
const MAX_EXTRA_CHUNKS = 2;

/**
 * Between upscaler and encoder: pictures of kinds that hand out chunks are released one by one at their time plus the
 * presentation delay; pictures of frame-by-frame kinds pass straight through.
 */
export class PaceStage {
  readonly #options: PaceStageOptions;
  readonly #pacer: FramePacer<Picture> | undefined;
  #delayMs: number;
  #differentSeconds = 0;
  #lateSeconds = 0;
  /** What the delay was stepped up by, because other streams share the engine. */
  #extraMs = 0;
  #lateMs: number[] = [];
  /** Least time any picture had to spare: in this second, and in the early seconds so far. */
  #slackMs = Infinity;
  #earlySeconds = 0;
  #earlyMs = Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PaceStageOptions) {
    this.#options = options;
    const { info, framesPerSecond } = options;
    this.#delayMs = presentationDelayMs(info, framesPerSecond);
    if (info.chunkFrames > 1) {
      this.#pacer = new FramePacer({
        presentationDelayMs: this.#delayMs,
        // The work is done: a late picture is shown at once. Falling behind is stopped in front of the upscaler, where
        // pictures are refused before any work; this bound only keeps what nobody could use from the encoder.
        maxLateMs: ((1 + MAX_EXTRA_CHUNKS) * 1000 * info.chunkFrames) / framesPerSecond,
        maxFrames: (3 + MAX_EXTRA_CHUNKS) * info.chunkFrames,
      });
    }
  }

  get presentationDelayMs(): number {
    return this.#delayMs;
  }

  push(picture: Picture): void {
    if (this.#pacer === undefined) {
      this.#options.onPicture(picture);
      return;
    }
    this.#pacer.push(picture, picture.mediaTime, picture.trace.receivedAtUs);
    this.#slackMs = Math.min(this.#slackMs, this.#pacer.slackMs(picture.mediaTime, monotonicUs()));
    this.#release();
  }

  /**
   * Asked once a second. Steps the delay to another frame rate; up when an engine shared with other streams gives its pictures
   * too late to be paced, and down again when they have been early for a while. @returns true when it was stepped
   */
  adapt(framesPerSecond: number): boolean {
    const baseMs = presentationDelayMs(this.#options.info, framesPerSecond);
    const different = Math.abs((baseMs + this.#extraMs) / this.#delayMs - 1) > STEP_SHARE;
    this.#differentSeconds = different ? this.#differentSeconds + 1 : 0;
    if (this.#differentSeconds >= STEP_AFTER_SECONDS) {
      this.#extraMs = 0;
      this.#step(baseMs);
      return true;
    }
    return this.#followLateness(framesPerSecond) || this.#followEarliness();
  }

  #followEarliness(): boolean {
    const slackMs = this.#slackMs;
    this.#slackMs = Infinity;
    if (slackMs === Infinity) return false;
    const early = this.#extraMs > 0 && slackMs > EARLY_MS;
    this.#earlySeconds = early ? this.#earlySeconds + 1 : 0;
    this.#earlyMs = early ? Math.min(this.#earlyMs, slackMs) : Infinity;
    if (this.#earlySeconds < EARLY_SECONDS) return false;
    const lessMs = Math.min(this.#extraMs, Math.round(this.#earlyMs - LATE_MARGIN_MS));
    this.#extraMs -= lessMs;
    this.#step(this.#delayMs - lessMs);
    return true;
  }

  #followLateness(framesPerSecond: number): boolean {
    const latenesses = this.#lateMs.sort((a, b) => a - b);
    this.#lateMs = [];
    const late = latenesses.filter((ms) => ms > LATE_MS).length;
    this.#lateSeconds = late > LATE_SHARE * latenesses.length ? this.#lateSeconds + 1 : 0;
    if (this.#pacer === undefined || this.#lateSeconds < STEP_AFTER_SECONDS) return false;
    const mostMs = (MAX_EXTRA_CHUNKS * 1000 * this.#options.info.chunkFrames) / framesPerSecond;
    const seenMs = latenesses[Math.floor(0.95 * (latenesses.length - 1))] ?? 0;
    const extraMs = Math.min(mostMs, Math.round(this.#extraMs + seenMs + LATE_MARGIN_MS));
    if (extraMs <= this.#extraMs) return false;
    const baseMs = this.#delayMs - this.#extraMs;
    this.#extraMs = extraMs;
    this.#step(baseMs + extraMs);
    return true;
  }

  #step(delayMs: number): void {
    this.#differentSeconds = 0;
    this.#lateSeconds = 0;
    this.#earlySeconds = 0;
    this.#earlyMs = Infinity;
    this.#delayMs = delayMs;
    this.#pacer?.setPresentationDelay(delayMs);
  }

  /** Idempotent; pictures inside are discarded. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { due = [], late = [] } = this.#pacer?.take(Number.POSITIVE_INFINITY) ?? {};
    for (const picture of [...due, ...late]) picture.release?.();
  }

  #release(): void {
    const pacer = this.#pacer;
    if (pacer === undefined) return;
    const { due, late, lateMs } = pacer.take(monotonicUs());
    this.#lateMs.push(...lateMs);
    for (const picture of late) {
      picture.release?.();
      this.#options.onDrop('pace-late');
    }
    for (const picture of due) this.#options.onPicture(picture);
    clearTimeout(this.#timer);
    const nextUs = pacer.nextDueAtUs;
    if (nextUs === undefined) return;
    this.#timer = setTimeout(() => this.#release(), Math.max(0, (nextUs - monotonicUs()) / 1000));
  }
}
