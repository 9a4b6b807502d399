import { threadId } from 'node:worker_threads';
import { AppError } from '../../errors.ts';
import { monotonicUs } from '../../media/clock.ts';
import type { Colour } from '../../media/types.ts';
import type { FrameTrace } from '../../media/steps.ts';
import type { FlashVsrSpec } from '../spec.ts';
import type { PushResult, StreamFormat, UpscalerListener, UpscalerStream } from '../upscaler.ts';
import type { FlashVsrEngine, FlashVsrStream, StreamFrame, StreamSettings } from './binding.ts';
import type { Picture } from '../../media/picture.ts';

export interface FlashVsrStreamOptions {
  readonly engine: FlashVsrEngine;
  readonly spec: FlashVsrSpec;
  readonly format: StreamFormat;
  readonly listener: UpscalerListener;
  /** Sparse ratio of every rung. */
  readonly sparseRatios: readonly number[];
  /** Frames of a steady chunk, and those that must follow its last. */
  readonly chunkFrames: number;
  readonly lookAheadFrames: number;
  readonly onClose: () => void;
}

/** Live pictures from the decoder are always this (see Picture). */
const LIVE_COLOUR: Colour = { matrix: 'bt601', range: 'limited' };
/** The causal VAE's: latent 0 is frame 0, latent n frames 4n-3 to 4n. */
const FRAMES_PER_LATENT = 4;
/**
 * Frame times of queueing for a chunk that waits for the device and is worked on, besides the chunk that gathers and its look-ahead.
 * More would only be delay: at 97 % load of an H100 by two streams, a bound of 28 frames inside stayed full and every frame was late.
 */
const QUEUEING_FRAMES = 12;

/**
 * One broadcast through the engine. What is pushed while the engine must first be emptied, because the colour changes, waits in
 * `#waiting`: results keep the order of the pushes.
 */
export class FlashVsrUpscalerStream implements UpscalerStream {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly #options: FlashVsrStreamOptions;
  readonly #maxPending: number;
  #native: FlashVsrStream;
  #nativeColour: Colour;
  /** Accepted, not yet in the engine. */
  readonly #waiting: Picture[] = [];
  /** In the engine, by its frame index. */
  readonly #inside = new Map<number, FrameTrace>();
  #nextIndex = 0;
  #rung = 0;
  /** Something must happen in the engine before the next picture can go on: a flush, another stream. */
  #transition: Promise<void> | undefined;
  #reopening = false;
  #flushWanted = false;
  #whenEmpty: (() => void)[] = [];
  #busyUs = 0;
  /** What the native stream had counted when it was last asked. */
  #nativeBusyUs = 0;
  #closed: Promise<void> | undefined;

  private constructor(options: FlashVsrStreamOptions, native: FlashVsrStream, colour: Colour) {
    this.#options = options;
    this.#native = native;
    this.#nativeColour = colour;
    this.outputWidth = native.outputWidth;
    this.outputHeight = native.outputHeight;
    const { coldStartFrames = 0, gatherDeadlineMs } = options.spec;
    this.#maxPending =
      gatherDeadlineMs === 0
        ? Number.POSITIVE_INFINITY
        : options.chunkFrames + options.lookAheadFrames + QUEUEING_FRAMES + coldStartFrames;
  }

  /** @throws AppError engine.memory | config.invalid */
  static async open(options: FlashVsrStreamOptions): Promise<FlashVsrUpscalerStream> {
    // Events only come after the first push, so the object is there when they do.
    const late: { stream?: FlashVsrUpscalerStream } = {};
    const native = await openNative(options, LIVE_COLOUR, 0, () => late.stream);
    late.stream = new FlashVsrUpscalerStream(options, native, LIVE_COLOUR);
    return late.stream;
  }

  get pending(): number {
    return this.#waiting.length + this.#inside.size;
  }

  get ready(): boolean {
    if (this.#closed !== undefined || this.pending >= this.#maxPending) return false;
    return this.#transition !== undefined || this.#native.ready;
  }

  get busyUs(): number {
    return this.#busyUs;
  }

  push(picture: Picture): PushResult {
    if (this.#closed !== undefined) return 'closed';
    if (!this.ready) return 'full';
    this.#waiting.push(picture);
    this.#pump();
    return 'accepted';
  }

  setRung(rung: number): void {
    const { sparseRatios } = this.#options;
    this.#rung = Math.max(0, Math.min(rung, sparseRatios.length - 1));
    if (this.#closed !== undefined) return;
    this.#native.update(settingsOf(this.#options, this.#rung));
    this.#pump();
  }

  flush(): Promise<void> {
    if (this.pending === 0 || this.#closed !== undefined) return Promise.resolve();
    const done = new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
    this.#flushWanted = true;
    this.#pump();
    return done;
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    for (const picture of this.#waiting.splice(0)) picture.release?.();
    this.#inside.clear();
    this.#wake();
    this.#options.onClose();
    await this.#native.close();
    // Another engine stream may just be opening.
    await this.#transition;
    await this.#native.close();
  }

  /** Moves pictures on until one has to wait. */
  #pump(): void {
    while (this.#closed === undefined && this.#transition === undefined) {
      const [picture] = this.#waiting;
      if (picture === undefined) {
        if (this.#flushWanted && this.#inside.size > 0) this.#empty();
        break;
      }
      const sameColour =
        picture.colour.matrix === this.#nativeColour.matrix && picture.colour.range === this.#nativeColour.range;
      if (!sameColour && this.#inside.size > 0) this.#empty();
      else if (!sameColour) this.#reopen(picture.colour);
      else if (!this.#enter(picture)) break;
    }
    if (this.pending === 0) this.#wake();
  }

  /** @returns false when the engine has no room now */
  #enter(picture: Picture): boolean {
    try {
      const result = this.#native.push(picture);
      if (result !== 'accepted') return false;
      this.#inside.set(this.#nextIndex, picture.trace);
      this.#nextIndex += 1;
    } catch (error) {
      this.#options.listener.onError(AppError.from(error));
    }
    this.#waiting.shift();
    picture.release?.();
    return true;
  }

  /** Gets everything out of the engine. What has not come out by then was lost, and reported as an error. */
  #empty(): void {
    this.#change(async () => {
      await this.#native.flush();
      this.#inside.clear();
      if (this.#waiting.length === 0) this.#flushWanted = false;
    });
  }

  /** A result has the colour of its source; the engine fixes it per stream. Happens at most when a file begins. */
  #reopen(colour: Colour): void {
    this.#change(async () => {
      this.#reopening = true;
      await this.#native.close();
      this.#native = await openNative(this.#options, colour, this.#rung, () => this);
      this.#nativeColour = colour;
      this.#nextIndex = 0;
      this.#nativeBusyUs = 0;
      this.#reopening = false;
    });
  }

  #change(run: () => Promise<void>): void {
    this.#transition = run().then(
      () => {
        this.#transition = undefined;
        if (this.#closed === undefined) this.setRung(this.#rung);
      },
      (error: unknown) => {
        this.#transition = undefined;
        if (this.#closed !== undefined) return;
        this.#options.listener.onError(AppError.from(error));
        void this.close();
      },
    );
  }

  #wake(): void {
    this.#flushWanted = false;
    for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }

  /** Called by the engine's events. */
  takeFrame(frame: StreamFrame): void {
    const trace = this.#inside.get(frame.frameIndex);
    // Frames come in order: an earlier one that is still here was lost.
    for (const index of this.#inside.keys()) {
      if (index > frame.frameIndex) break;
      this.#inside.delete(index);
    }
    if (trace === undefined || this.#closed !== undefined) {
      frame.release();
      return;
    }
    this.#countWork();
    trace.upscaledAtUs = monotonicUs();
    this.#options.listener.onPicture(pictureOf(frame, trace));
    this.#pump();
  }

  takeError(error: AppError): void {
    if (this.#closed === undefined) this.#options.listener.onError(error);
  }

  /** The engine closed the stream: after an error, which was reported, or because we did. */
  takeClosed(native: FlashVsrStream | undefined): void {
    if (native !== this.#native || this.#reopening) return;
    void this.close();
  }

  #countWork(): void {
    const busyUs = this.#native.stats.busyMs * 1000;
    this.#busyUs += busyUs - this.#nativeBusyUs;
    this.#nativeBusyUs = busyUs;
  }
}

function settingsOf({ spec, sparseRatios }: FlashVsrStreamOptions, rung: number): StreamSettings {
  const { localRange, kvRatio, seed, colourMatch, sparseRatio } = spec;
  return { sparseRatio: sparseRatios[rung] ?? sparseRatio, localRange, kvRatio, seed, colourMatch };
}

async function openNative(
  options: FlashVsrStreamOptions,
  { matrix, range }: Colour,
  rung: number,
  owner: () => FlashVsrUpscalerStream | undefined,
): Promise<FlashVsrStream> {
  const { engine, spec, format } = options;
  const { coldStartFrames, gatherDeadlineMs, recordPath, scale, decoder } = spec;
  const opened: { native?: FlashVsrStream } = {};
  opened.native = await engine.openStream(
    {
      sourceWidth: format.sourceWidth,
      sourceHeight: format.sourceHeight,
      scale,
      matrix,
      range,
      settings: settingsOf(options, rung),
      decoder,
      startPosition: (format.startFrame ?? 0) / FRAMES_PER_LATENT,
      ...(coldStartFrames === undefined ? {} : { coldStartFrames }),
      ...(gatherDeadlineMs === undefined ? {} : { gatherDeadlineMs }),
      ...(recordPath === undefined ? {} : { recordPath: recordingFile(recordPath) }),
    },
    {
      onFrame: (frame) => owner()?.takeFrame(frame),
      onError: (error) => owner()?.takeError(error),
      onClosed: () => owner()?.takeClosed(opened.native),
    },
  );
  return opened.native;
}

let recordings = 0;

/** A separate name for each stream of each thread. */
function recordingFile(path: string): string {
  recordings += 1;
  return `${path}-${process.pid}-${threadId}-${recordings}`;
}

/** The frame's three planes as views of its one buffer. */
function pictureOf(frame: StreamFrame, trace: FrameTrace): Picture {
  const { data, width, height, mediaTime, matrix, range } = frame;
  const uvStride = (width + 1) >> 1;
  const lumaBytes = width * height;
  const chromaBytes = uvStride * ((height + 1) >> 1);
  return {
    width,
    height,
    y: new Uint8Array(data, 0, lumaBytes),
    u: new Uint8Array(data, lumaBytes, chromaBytes),
    v: new Uint8Array(data, lumaBytes + chromaBytes, chromaBytes),
    yStride: width,
    uvStride,
    colour: { matrix, range },
    mediaTime,
    trace,
    ...(frame.loan === undefined ? {} : { release: () => frame.release() }),
  };
}
