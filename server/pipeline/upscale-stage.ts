import { PictureScaler } from '../codec/scaler.ts';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { Picture } from '../media/picture.ts';
import type { DropReason } from '../media/types.ts';
import type { Upscaler, UpscalerStream } from '../upscalers/upscaler.ts';
import { BusyTime } from './busy-time.ts';
import { ChunkRhythm } from './chunk-rhythm.ts';
import type { EngineShare } from './engine-share.ts';
import type { Size } from './growth.ts';
import type { PipelineFormat } from './messages.ts';
import { PictureQueue } from './picture-queue.ts';
import { StreamSlot } from './stream-slot.ts';

export interface UpscaleStageOptions {
  readonly maxQueueMs: number;
  /** Upper bound on the result's pixels, for upscalers that can choose their scale. */
  readonly maxResultPixels: number;
  /** A source that stayed larger for this long gets a larger result; 0: never. */
  readonly growAfterMs: number;
  readonly framesPerSecond: () => number;
  /** Statistics shared by the pipelines on one engine. */
  readonly share?: EngineShare | undefined;
  /** @param upscaleUs from the push to the result */
  readonly onPicture: (picture: Picture, upscaleUs: number) => void;
  readonly onDrop: (reason: DropReason) => void;
  readonly onFormat: (format: PipelineFormat) => void;
  /** A stream was opened that cannot use the rungs before this one: the result would be too large. */
  readonly onFirstRung: (rung: number) => void;
  readonly onError: (error: AppError) => void;
}

/** In front of a frame-by-frame upscaler one picture may wait for each this much of the budget: two of 100 ms. */
const MS_PER_WAITING_FRAME = 50;
const POLL_MS = 4;
/**
 * Results of a cheaper rung are at most this large, 1280x720: to enlarge a weaker picture further costs the encoder and the viewers'
 * lines several times as much, and shows nothing that a browser's own scaling does not.
 */
const CHEAPER_RESULT_PIXELS = 1280 * 720;

/** What the stream shall do now. */
export interface Rung {
  /** Index into `UpscalerInfo.rungs`. */
  readonly rung: number;
  /** Not by choice of the source's size: the machine is too slow for better, or a model would harm what is shown. */
  readonly reduced: boolean;
}

/**
 * The queue in front of one broadcast's upscaler: pictures wait here until the stream takes them, rescaled to its size, and no
 * longer than the budget. Which stream there is, is StreamSlot's business.
 */
export class UpscaleStage {
  readonly #upscaler: Upscaler;
  readonly #options: UpscaleStageOptions;
  readonly #queue: PictureQueue;
  readonly #slot: StreamSlot;
  readonly #busy = new BusyTime();
  readonly #rhythm: ChunkRhythm | undefined;
  /** `held`: pictures only queue. `pushing`: inside stream.push(). */
  #pumping: 'free' | 'held' | 'pushing' = 'free';
  #pumpTimer: NodeJS.Timeout | undefined;
  /** The size the publisher sends now. */
  #sourceSize: Size | undefined;
  #rescaler: PictureScaler | undefined;
  #rung = 0;
  /** Upper bound of results at present. */
  #maxResultPixels: number;
  /** The bound that the stream was opened with. */
  #openedMaxPixels = 0;
  #closed: Promise<void> | undefined;

  constructor(upscaler: Upscaler, options: UpscaleStageOptions) {
    this.#upscaler = upscaler;
    this.#options = options;
    this.#maxResultPixels = options.maxResultPixels;
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
    this.#slot = new StreamSlot({
      open: (size) => this.#openStream(size),
      growAfterMs: options.growAfterMs,
      onOpen: (stream, newFormat) => this.#onOpen(stream, newFormat),
      onLeave: () => this.#endBusy(),
      onError: options.onError,
    });
  }

  get queueDepth(): number {
    return this.#queue.length;
  }

  /** Size of the `low` rendition: the stream's source, even because encoders need it. */
  get lowSize(): Size {
    const { width, height } = this.#slot.size ?? { width: 16, height: 16 };
    return { width: width & ~1, height: height & ~1 };
  }

  /** Time the upscaler was busy since the last call. */
  takeBusyUs(): number {
    return this.#busy.take(this.#slot.stream, monotonicUs());
  }

  /** Takes effect with the next picture; the result's size follows as soon as a stream for it is open. */
  setRung({ rung, reduced }: Rung): void {
    this.#rung = rung;
    this.#slot.stream?.setRung(rung);
    const { maxResultPixels } = this.#options;
    // Chunked kinds lose a second with every new stream: theirs keep their size.
    const bounded = reduced && this.#upscaler.info.chunkFrames === 1;
    this.#maxResultPixels = bounded ? Math.min(maxResultPixels, CHEAPER_RESULT_PIXELS) : maxResultPixels;
    this.#followBound();
  }

  /** Opens a stream for results of another size where the bound asks for one. */
  #followBound(): void {
    const { size, stream } = this.#slot;
    if (size === undefined || stream === undefined || this.#openedMaxPixels === this.#maxResultPixels) return;
    const fullPixels = size.width * size.height * this.#upscaler.info.scale ** 2;
    // The result is the same under both bounds.
    if (fullPixels <= Math.min(this.#openedMaxPixels, this.#maxResultPixels))
      this.#openedMaxPixels = this.#maxResultPixels;
    else this.#slot.reopen();
  }

  /**
   * Without a viewer: makes the format known without upscaling the picture, which stays the caller's. The stream is closed until
   * there is a viewer; by then its recurrent state would be of the wrong time.
   */
  idle(picture: Picture): void {
    const known = this.#slot.output !== undefined;
    this.#follow(picture, !known);
    if (known) void this.#slot.release()?.close();
  }

  push(picture: Picture): void {
    this.#follow(picture, true);
    this.#queue.push(picture);
    this.#pump();
  }

  /** Pictures pushed from now on wait until resume(). */
  hold(): void {
    this.#pumping = 'held';
  }

  resume(): void {
    this.#pumping = 'free';
    this.#pump();
  }

  /** The publisher has left for now: what is inside comes out; chunked kinds start a new sequence afterwards. */
  drain(): void {
    this.#pump();
    this.#queue.clear('stale');
    if (this.#upscaler.info.chunkFrames === 1) return;
    const stream = this.#slot.release();
    stream
      ?.flush()
      .catch((error: unknown) => this.#options.onError(AppError.from(error, 'model.run')))
      .finally(() => void stream.close());
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#pumpTimer);
    this.#queue.clear('stale');
    this.#rescaler?.close();
    await this.#slot.close();
  }

  #follow({ width, height }: Picture, needStream: boolean): void {
    if (this.#closed !== undefined) return;
    const before = this.#sourceSize;
    this.#sourceSize = { width, height };
    if (this.#slot.follow(this.#sourceSize, needStream)) this.#queue.clear('stale');
    else if (before?.width !== width || before.height !== height) this.#announceFormat();
  }

  #openStream({ width: sourceWidth, height: sourceHeight }: Size): Promise<UpscalerStream> {
    const maxResultPixels = this.#maxResultPixels;
    const opened: { stream?: UpscalerStream } = {};
    return this.#upscaler
      .openStream(
        { sourceWidth, sourceHeight, maxResultPixels },
        {
          onPicture: (picture) => this.#onPicture(picture),
          onError: (error) => this.#onStreamError(error, opened.stream),
        },
      )
      .then((stream) => {
        this.#openedMaxPixels = maxResultPixels;
        return (opened.stream = stream);
      });
  }

  #onOpen(stream: UpscalerStream, newFormat: boolean): void {
    this.#rhythm?.restart();
    this.#busy.restart(stream);
    // With results bounded for another reason than the source's size, the size excludes no rung.
    if (this.#openedMaxPixels === this.#options.maxResultPixels) this.#options.onFirstRung(stream.firstRung ?? 0);
    stream.setRung(this.#rung);
    // Opened again after an idle time: nothing has changed for viewers.
    if (newFormat) this.#announceFormat();
    this.#followBound();
    this.#pump();
  }

  #announceFormat(): void {
    const [source, output] = [this.#sourceSize, this.#slot.output];
    if (source === undefined || output === undefined) return;
    this.#options.onFormat({
      sourceWidth: source.width,
      sourceHeight: source.height,
      outputWidth: output.width,
      outputHeight: output.height,
    });
  }

  #pump(): void {
    const { stream } = this.#slot;
    if (stream === undefined || this.#pumping === 'held') return;
    while (stream.ready && stream === this.#slot.stream) {
      const picture = this.#queue.take(monotonicUs());
      if (picture === undefined) return;
      if (this.#rhythm?.leavesOut(picture) === true) {
        picture.release?.();
        this.#options.onDrop('phase');
        continue;
      }
      if (!this.#pushOne(stream, picture)) return;
    }
    // Kinds that do not report when they are ready again are polled after their next result, or soon at the latest.
    if (this.#queue.length > 0) this.#schedulePump();
  }

  /** @returns false when the stream takes no more now */
  #pushOne(stream: UpscalerStream, picture: Picture): boolean {
    const sized = this.#fit(picture);
    sized.trace.gatheredAtUs = monotonicUs();
    this.#busy.begin(sized.trace.gatheredAtUs);
    this.#pumping = 'pushing';
    const result = stream.push(sized);
    this.#pumping = 'free';
    if (stream.pending === 0) this.#endBusy();
    if (result === 'accepted') return true;
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
    const { size } = this.#slot;
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
    if (this.#closed !== undefined) {
      picture.release?.();
      return;
    }
    const { stream } = this.#slot;
    if (stream?.pending === 0) this.#endBusy();
    if (stream !== undefined) this.#rhythm?.onPicture(picture, stream.busyUs ?? 0);
    // An upscaler that computes elsewhere gets its next picture before this one is encoded here. Not one that answers
    // within push(): its next result would overtake this one.
    if (this.#pumping !== 'pushing') this.#pump();
    this.#options.onPicture(picture, now - picture.trace.gatheredAtUs);
    if (this.#queue.length > 0) this.#schedulePump();
  }

  #onStreamError(error: AppError, from: UpscalerStream | undefined): void {
    this.#options.onError(error);
    // A stream that was replaced may fail on its way out; `from` is undefined while it is being opened.
    if (error.scope !== 'frame' && from === this.#slot.stream) this.#slot.fail();
  }

  #schedulePump(): void {
    if (this.#pumpTimer !== undefined || this.#closed !== undefined) return;
    // Every result pumps by itself: this is for an upscaler that gets ready without one. Never a spinning thread.
    this.#pumpTimer = setTimeout(() => {
      this.#pumpTimer = undefined;
      this.#pump();
    }, POLL_MS);
  }

  #endBusy(): void {
    const { stream } = this.#slot;
    if (stream !== undefined) this.#busy.end(stream, monotonicUs());
  }
}
