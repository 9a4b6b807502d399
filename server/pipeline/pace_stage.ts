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

/**
 * Between upscaler and encoder: pictures of kinds that hand out chunks are released one by one at their time plus the
 * presentation delay; pictures of frame-by-frame kinds pass straight through.
 */
export class PaceStage {
  readonly #options: PaceStageOptions;
  readonly #pacer: FramePacer<Picture> | undefined;
  #delayMs: number;
  #differentSeconds = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PaceStageOptions) {
    this.#options = options;
    const { info, framesPerSecond } = options;
    this.#delayMs = presentationDelayMs(info, framesPerSecond);
    if (info.chunkFrames > 1) {
      this.#pacer = new FramePacer({
        presentationDelayMs: this.#delayMs,
        // As long as the next chunk takes to gather: later than that and its pictures are there already.
        maxLateMs: (1000 * info.chunkFrames) / framesPerSecond,
        maxFrames: 3 * info.chunkFrames,
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
    this.#release();
  }

  /** Asked once a second. @returns true when the delay was stepped to another frame rate */
  followFrameRate(framesPerSecond: number): boolean {
    const wantedMs = presentationDelayMs(this.#options.info, framesPerSecond);
    const different = Math.abs(wantedMs / this.#delayMs - 1) > STEP_SHARE;
    this.#differentSeconds = different ? this.#differentSeconds + 1 : 0;
    if (this.#differentSeconds < STEP_AFTER_SECONDS) return false;
    this.#differentSeconds = 0;
    this.#delayMs = wantedMs;
    this.#pacer?.setPresentationDelay(wantedMs);
    return true;
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
    const { due, late } = pacer.take(monotonicUs());
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
