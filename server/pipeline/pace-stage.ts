import type { UpscalerInfo } from '../upscalers/upscaler.ts';
import { monotonicUs } from '../media/clock.ts';
import { DelayFinder } from '../media/delay-finder.ts';
import { FramePacer } from '../media/pacer.ts';
import type { DropReason, MonotonicUs } from '../media/types.ts';
import { gatherDelayMs, presentationDelayMs } from './presentation.ts';
import type { Picture } from '../media/picture.ts';

export interface PaceStageOptions {
  readonly info: UpscalerInfo;
  readonly framesPerSecond: () => number;
  readonly onPicture: (picture: Picture) => void;
  readonly onDrop: (reason: DropReason) => void;
  /** The presentation delay has changed. */
  readonly onDelay: (delayMs: number) => void;
}

/** Released later than this counts as late: it shows as uneven motion. */
const LATE_MS = 15;
/** The delay grows by at most this many chunks; beyond that the engine does not keep up, which is the ladder's business. */
const MAX_EXTRA_CHUNKS = 2;
/** After a change of rung, pictures of both rungs come out for this long; they are not measured. */
const RUNG_SETTLES_US = 1_500_000;

interface Pacing {
  readonly pacer: FramePacer<Picture>;
  readonly finder: DelayFinder;
}

/**
 * Between upscaler and encoder: pictures of kinds that deliver chunks are released one by one at their time plus the
 * presentation delay, which is measured: the least at which the engine, alone or shared, has every picture ready in time.
 * Pictures of frame-by-frame kinds pass straight through.
 */
export class PaceStage {
  readonly #options: PaceStageOptions;
  /** Made for the first picture: by then the source's frame rate is known. */
  #pacing: Pacing | undefined;
  #lateFrames = 0;
  /** The upscaler works in chunks on this rung. */
  #chunked = true;
  #measureFromUs: MonotonicUs = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PaceStageOptions) {
    this.#options = options;
  }

  get presentationDelayMs(): number {
    return this.#pacing?.finder.delayMs ?? presentationDelayMs(this.#options.info, this.#options.framesPerSecond());
  }

  /** Pictures that left more than 15 ms after their time, since the start. */
  get lateFrames(): number {
    return this.#lateFrames;
  }

  /** Rungs behind the chunked ones answer at once: their pictures do not change the delay. */
  setRung(rung: number): void {
    const { chunkedRungs = Number.POSITIVE_INFINITY } = this.#options.info;
    this.#chunked = rung < chunkedRungs;
    this.#measureFromUs = monotonicUs() + RUNG_SETTLES_US;
    this.#pacing?.finder.forget();
  }

  push(picture: Picture): void {
    const { info, onDelay } = this.#options;
    if (info.chunkFrames <= 1) {
      this.#give(picture);
      return;
    }
    const first = this.#pacing === undefined;
    const { pacer, finder } = (this.#pacing ??= this.#begin());
    if (first) onDelay(finder.delayMs);
    // Reordering in front of the model is not the model's delay: it counts from when the picture's turn had come.
    const { receivedAtUs, heldUs = 0 } = picture.trace;
    pacer.push(picture, picture.mediaTime, receivedAtUs + heldUs);
    const now = monotonicUs();
    if (this.#chunked && now >= this.#measureFromUs) {
      if (finder.add(pacer.sinceArrivalMs(picture.mediaTime, now), now, this.#mostMs())) {
        pacer.setPresentationDelay(finder.delayMs);
        onDelay(finder.delayMs);
      }
    }
    this.#release();
  }

  /** Idempotent; pictures inside are discarded. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { due = [], late = [] } = this.#pacing?.pacer.take(Number.POSITIVE_INFINITY) ?? {};
    for (const picture of [...due, ...late]) picture.release?.();
  }

  #begin(): Pacing {
    const { info, framesPerSecond } = this.#options;
    const delayMs = presentationDelayMs(info, framesPerSecond());
    const pacer = new FramePacer<Picture>({
      presentationDelayMs: delayMs,
      // The work is done: a late picture is shown at once. Falling behind is stopped in front of the upscaler, where
      // pictures are refused before any work; this bound only keeps useless pictures from the encoder.
      maxLateMs: (1 + MAX_EXTRA_CHUNKS) * this.#chunkMs(),
      maxFrames: (3 + MAX_EXTRA_CHUNKS) * info.chunkFrames,
    });
    return { pacer, finder: new DelayFinder(delayMs) };
  }

  #chunkMs(): number {
    return (1000 * this.#options.info.chunkFrames) / this.#options.framesPerSecond();
  }

  #mostMs(): number {
    const { info, framesPerSecond } = this.#options;
    return gatherDelayMs(info, framesPerSecond()) + (1 + MAX_EXTRA_CHUNKS) * this.#chunkMs();
  }

  #release(): void {
    const pacer = this.#pacing?.pacer;
    if (pacer === undefined) return;
    const { due, late, lateMs } = pacer.take(monotonicUs());
    for (const ms of lateMs) if (ms > LATE_MS) this.#lateFrames += 1;
    for (const picture of late) {
      picture.release?.();
      this.#options.onDrop('pace-late');
    }
    for (const picture of due) this.#give(picture);
    clearTimeout(this.#timer);
    const nextUs = pacer.nextDueAtUs;
    if (nextUs === undefined) return;
    this.#timer = setTimeout(() => this.#release(), Math.ceil((nextUs - monotonicUs()) / 1000));
  }

  #give(picture: Picture): void {
    picture.trace.pacedAtUs = monotonicUs();
    this.#options.onPicture(picture);
  }
}
