import { PictureScaler } from '../codec/scaler.ts';
import type { Upscaler, UpscalerStream } from '../upscalers/upscaler.ts';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { DropReason, MonotonicUs } from '../media/types.ts';
import { ChunkRhythm } from './chunk-rhythm.ts';
import type { EngineShare } from './engine-share.ts';
import { GrowthWatch, type Size } from './growth.ts';
import type { PipelineFormat } from './messages.ts';
import { PictureQueue } from './picture-queue.ts';
import type { Picture } from '../media/picture.ts';

export interface UpscaleStageOptions {
  readonly maxQueueMs: number;
  /** Of the result, for kinds that can choose. */
  readonly maxResultPixels: number;
  /** A source that stayed larger for so long gets a larger result; 0: never. */
  readonly growAfterMs: number;
  readonly framesPerSecond: () => number;
  /** What the pipelines on the same engine know of each other. */
  readonly share?: EngineShare | undefined;
  /** @param upscaleUs from the push to the result */
  readonly onPicture: (picture: Picture, upscaleUs: number) => void;
  readonly onDrop: (reason: DropReason) => void;
  readonly onFormat: (format: PipelineFormat) => void;
  /** A stream was opened that cannot use the rungs before this one: the result would be too large. */
  readonly onFirstRung: (rung: number) => void;
  readonly onError: (error: AppError) => void;
}

/** Sizes of 16:9 rounded to multiples of 2, 4 or 8 differ in aspect by up to this; they are the same picture. */
const ASPECT_TOLERANCE = 0.02;

export function sameAspect(a: Size, b: Size): boolean {
  return Math.abs((a.width * b.height) / (a.height * b.width) - 1) <= ASPECT_TOLERANCE;
}

/** In front of a frame-by-frame upscaler one picture may wait for every so much of the budget: two of 100 ms. */
const MS_PER_WAITING_FRAME = 50;
const POLL_MS = 4;
/** A stream that failed is opened again after this long. */
const REOPEN_AFTER_US = 1_000_000;

/**
 * Queue and upscaler stream of one broadcast. Opens the stream for the first picture, rescales sources of the same aspect
 * into it, replaces it when the aspect changes, and lets nothing wait longer than the budget.
 */
export class UpscaleStage {
  readonly #upscaler: Upscaler;
  readonly #options: UpscaleStageOptions;
  readonly #queue: PictureQueue;
  #stream: UpscalerStream | undefined;
  #opening = false;
  /** The size the stream was opened for. */
  #streamSize: Size | undefined;
  /** What comes out, cropped to even sides; known as soon as a stream of this size was open once. */
  #outputSize: Size | undefined;
  /** The size the publisher sends now. */
  #sourceSize: Size | undefined;
  #rescaler: PictureScaler | undefined;
  #rung = 0;
  #pumpScheduled = false;
  #held = false;
  /** Inside stream.push(). */
  #giving = false;
  #failedAtUs: MonotonicUs | undefined;
  #busyUs = 0;
  #busySinceUs: MonotonicUs | undefined;
  #streamBusyUs = 0;
  #closed = false;
  readonly #rhythm: ChunkRhythm | undefined;
  readonly #growth: GrowthWatch;

  constructor(upscaler: Upscaler, options: UpscaleStageOptions) {
    this.#upscaler = upscaler;
    this.#options = options;
    this.#growth = new GrowthWatch(options.growAfterMs);
    const { chunkFrames } = upscaler.info;
    const chunked = chunkFrames > 1;
    // A chunked upscaler takes pictures in bursts; one chunk may gather while it works on the last.
    const chunkUs = chunked ? (chunkFrames / options.framesPerSecond()) * 1e6 : 0;
    if (chunked && options.share !== undefined) {
      this.#rhythm = new ChunkRhythm(upscaler.info, options.share, options.framesPerSecond);
    }
    this.#queue = new PictureQueue(
      chunked ? chunkFrames : Math.max(1, Math.floor(options.maxQueueMs / MS_PER_WAITING_FRAME)),
      options.maxQueueMs * 1000 + chunkUs,
      (picture, reason) => {
        picture.release?.();
        options.onDrop(reason);
      },
    );
  }

  get queueDepth(): number {
    return this.#queue.length;
  }

  /** Size of the `low` rendition: the stream's source, even because encoders need it. */
  get lowSize(): Size {
    const { width, height } = this.#streamSize ?? { width: 16, height: 16 };
    return { width: width & ~1, height: height & ~1 };
  }

  /** Time the upscaler was busy since the last call. */
  takeBusyUs(): number {
    const now = monotonicUs();
    const stream = this.#stream;
    if (stream?.busyUs !== undefined) {
      this.#busyUs += stream.busyUs - this.#streamBusyUs;
      this.#streamBusyUs = stream.busyUs;
    } else if (this.#busySinceUs !== undefined) {
      this.#busyUs += now - this.#busySinceUs;
      this.#busySinceUs = now;
    }
    const busyUs = this.#busyUs;
    this.#busyUs = 0;
    return busyUs;
  }

  setRung(rung: number): void {
    this.#rung = rung;
    this.#stream?.setRung(rung);
  }

  /**
   * Nobody wants results: makes the format known without upscaling the picture, which stays the caller's. The stream is
   * closed until somebody does; its memory of the past would be of the wrong time by then.
   */
  idle(picture: Picture): void {
    const known = this.#outputSize !== undefined;
    this.#follow(picture, !known);
    if (!known || this.#stream === undefined) return;
    void this.#stream.close();
    this.#stream = undefined;
    this.#forget();
  }

  push(picture: Picture): void {
    this.#follow(picture, true);
    this.#queue.push(picture);
    this.#pump();
  }

  /** Pictures pushed from now on wait until resume(). */
  hold(): void {
    this.#held = true;
  }

  resume(): void {
    this.#held = false;
    this.#pump();
  }

  /** The publisher is gone for now: what is inside comes out; chunked kinds start a new sequence afterwards. */
  drain(): void {
    this.#pump();
    this.#queue.clear('stale');
    const stream = this.#stream;
    if (stream === undefined || this.#upscaler.info.chunkFrames === 1) return;
    this.#stream = undefined;
    this.#forget();
    void stream
      .flush()
      .catch((error: unknown) => this.#options.onError(AppError.from(error, 'model.run')))
      .finally(() => void stream.close());
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.clear('stale');
    this.#rescaler?.close();
    await this.#stream?.close();
    this.#stream = undefined;
  }

  /** Opens, keeps or replaces the stream as the picture's size asks. */
  #follow(picture: Picture, needStream: boolean): void {
    const size = { width: picture.width, height: picture.height };
    const changed = this.#sourceSize?.width !== size.width || this.#sourceSize.height !== size.height;
    this.#sourceSize = size;
    if (this.#streamSize !== undefined && !sameAspect(this.#streamSize, size)) {
      this.#queue.clear('stale');
      void this.#stream?.close();
      this.#stream = undefined;
      this.#streamSize = undefined;
      this.#outputSize = undefined;
      this.#forget();
    }
    if (this.#streamSize !== undefined && this.#growth.grown(size, this.#streamSize, monotonicUs())) {
      if (this.#stream === undefined) this.#streamSize = this.#outputSize = undefined;
      else this.#grow(size);
    }
    if (this.#stream === undefined && (needStream || this.#outputSize === undefined)) this.#open(size);
    else if (changed) this.#announceFormat();
  }

  #open(size: Size): void {
    const now = monotonicUs();
    if (this.#opening || this.#closed) return;
    if (this.#failedAtUs !== undefined && now - this.#failedAtUs < REOPEN_AFTER_US) return;
    this.#opening = true;
    this.#streamSize ??= size;
    const wanted = this.#streamSize;
    this.#newStream(wanted).then(
      (stream) => {
        this.#opening = false;
        // The source's aspect may have changed again meanwhile, or everything may be over.
        if (this.#closed || this.#streamSize !== wanted) void stream.close();
        else this.#adopt(stream);
      },
      (error: unknown) => {
        this.#opening = false;
        this.#failedAtUs = monotonicUs();
        this.#options.onError(AppError.from(error, 'model.run'));
      },
    );
  }

  /** A stream for a larger source beside the present one, which works on until the other is there and then gives what it has. */
  #grow(size: Size): void {
    const [before, from] = [this.#stream, this.#streamSize];
    if (this.#opening || this.#closed || before === undefined) return;
    this.#opening = true;
    const grown = this.#newStream(size).then(async (stream) => {
      if (this.#stream !== before) return stream.close();
      // From here on pictures wait in the queue, so that none overtakes those inside.
      this.#stream = undefined;
      await before.flush().catch(() => undefined);
      void before.close();
      if (this.#closed || this.#streamSize !== from) return stream.close();
      this.#forget();
      this.#streamSize = size;
      this.#adopt(stream);
    });
    grown
      .catch((error: unknown) => {
        this.#growth.refuse(size);
        const { code, message } = AppError.from(error, 'model.run');
        const what = `The result stays as it is, the source's ${size.width}x${size.height} is too much: ${message}`;
        this.#options.onError(new AppError(code, what, { cause: error, scope: 'frame' }));
      })
      .finally(() => {
        this.#opening = false;
      });
  }

  #newStream({ width: sourceWidth, height: sourceHeight }: Size): Promise<UpscalerStream> {
    const { maxResultPixels } = this.#options;
    return this.#upscaler.openStream(
      { sourceWidth, sourceHeight, maxResultPixels },
      { onPicture: (picture) => this.#onPicture(picture), onError: (error) => this.#onStreamError(error) },
    );
  }

  #adopt(stream: UpscalerStream): void {
    this.#failedAtUs = undefined;
    this.#stream = stream;
    this.#rhythm?.restart();
    this.#streamBusyUs = stream.busyUs ?? 0;
    this.#options.onFirstRung(stream.firstRung ?? 0);
    stream.setRung(this.#rung);
    const before = this.#outputSize;
    this.#outputSize = { width: stream.outputWidth & ~1, height: stream.outputHeight & ~1 };
    // Opened again after nobody watched: nothing changed for anybody.
    if (before?.width !== this.#outputSize.width || before.height !== this.#outputSize.height) this.#announceFormat();
    this.#pump();
  }

  #announceFormat(): void {
    if (this.#sourceSize === undefined || this.#outputSize === undefined) return;
    const { width: sourceWidth, height: sourceHeight } = this.#sourceSize;
    const { width: outputWidth, height: outputHeight } = this.#outputSize;
    this.#options.onFormat({ sourceWidth, sourceHeight, outputWidth, outputHeight });
  }

  #pump(): void {
    const stream = this.#stream;
    if (stream === undefined || this.#held) return;
    while (stream.ready && stream === this.#stream) {
      const picture = this.#queue.take(monotonicUs());
      if (picture === undefined) return;
      if (this.#rhythm?.leavesOut(picture) === true) {
        picture.release?.();
        this.#options.onDrop('phase');
        continue;
      }
      if (!this.#give(stream, picture)) return;
    }
    // Kinds that do not tell when they are ready again are asked after their next result, or soon at the latest.
    if (this.#queue.length > 0) this.#schedulePump();
  }

  #give(stream: UpscalerStream, picture: Picture): boolean {
    const sized = this.#fit(picture);
    sized.trace.pushedAtUs = monotonicUs();
    this.#busySinceUs ??= monotonicUs();
    this.#giving = true;
    const result = stream.push(sized);
    this.#giving = false;
    if (result === 'accepted') {
      if (stream.pending === 0) this.#endBusy();
      return true;
    }
    if (stream.pending === 0) this.#endBusy();
    if (sized !== picture) sized.release?.();
    if (result === 'full') {
      this.#queue.putBack(picture);
      this.#schedulePump();
    } else {
      picture.release?.();
      this.#options.onDrop('stale');
    }
    return false;
  }

  /** The picture in the stream's size. */
  #fit(picture: Picture): Picture {
    const size = this.#streamSize;
    if (size === undefined || (picture.width === size.width && picture.height === size.height)) return picture;
    if (this.#rescaler?.width !== size.width || this.#rescaler.height !== size.height) {
      this.#rescaler?.close();
      this.#rescaler = new PictureScaler(size.width, size.height, 'bicubic');
    }
    return this.#rescaler.scale(picture);
  }

  #onPicture(picture: Picture): void {
    const now = monotonicUs();
    if (picture.trace.upscaledAtUs === 0) picture.trace.upscaledAtUs = now;
    if (this.#stream !== undefined && this.#stream.pending === 0) this.#endBusy();
    if (this.#closed) {
      picture.release?.();
      return;
    }
    if (this.#stream !== undefined) this.#rhythm?.onPicture(picture, this.#stream.busyUs ?? 0);
    // An upscaler that computes elsewhere gets its next picture before this one is encoded here. Not one that answers
    // within push(): its next result would overtake this one.
    if (!this.#giving) this.#pump();
    this.#options.onPicture(picture, now - picture.trace.pushedAtUs);
    if (this.#queue.length > 0) this.#schedulePump();
  }

  #onStreamError(error: AppError): void {
    this.#options.onError(error);
    if (error.scope === 'frame') return;
    const stream = this.#stream;
    this.#stream = undefined;
    this.#failedAtUs = monotonicUs();
    this.#forget();
    void stream?.close();
  }

  #schedulePump(): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    // Every result pumps by itself: this is for an upscaler that gets ready without one. Never a spinning thread.
    setTimeout(() => {
      this.#pumpScheduled = false;
      if (!this.#closed) this.#pump();
    }, POLL_MS);
  }

  #endBusy(): void {
    if (this.#busySinceUs === undefined) return;
    if (this.#stream?.busyUs === undefined) this.#busyUs += monotonicUs() - this.#busySinceUs;
    this.#busySinceUs = undefined;
  }

  #forget(): void {
    this.#endBusy();
    this.#streamBusyUs = 0;
  }
}
