import { makePicture } from '../../../testing/pictures.ts';
import type {
  PushResult,
  StreamFormat,
  Upscaler,
  UpscalerInfo,
  UpscalerListener,
  UpscalerStream,
} from '../../upscalers/upscaler.ts';
import { monotonicUs } from '../../media/clock.ts';
import type { DropReason, MonotonicUs } from '../../media/types.ts';
import { EngineShare, type EngineSlots } from '../engine-share.ts';
import { PaceStage } from '../pace-stage.ts';
import { UpscaleStage } from '../upscale-stage.ts';
import type { Picture } from '../../media/picture.ts';

/**
 * FlashVSR's engine in time, not in pixels: chunk 0 of five real frames, then eight for eight with a look-ahead of four; one
 * chunk at work at a time, streams in turn. Runs on vitest's fake clock (all of hrtime, timers and immediates).
 */
export interface SimulatedEngineOptions {
  /** @param chunk 0 for a stream's first */
  readonly workMs: (chunk: number, stream: number) => number;
  /** Pictures leave one after the other in the last part of a chunk's work, this far apart; 0: all at its end. */
  readonly pictureMs?: number;
  readonly openMs?: number;
}

const FIRST_CHUNK_FRAMES = 5;
const CHUNK_FRAMES = 8;
const LOOK_AHEAD_FRAMES = 4;
/** As server/upscalers/flashvsr/stream.ts. */
const LIVE_PENDING = 24;

export class SimulatedEngine {
  readonly #options: SimulatedEngineOptions;
  readonly streams: SimulatedStream[] = [];
  #working = false;
  #next = 0;

  constructor(options: SimulatedEngineOptions) {
    this.#options = options;
  }

  upscaler(): Upscaler {
    return {
      info: {
        kind: 'flashvsr',
        label: 'simulated',
        superResolution: true,
        scale: 1,
        device: 'test',
        lookAheadFrames: LOOK_AHEAD_FRAMES,
        chunkFrames: CHUNK_FRAMES,
        firstChunkFrames: FIRST_CHUNK_FRAMES,
        rungs: ['all', 'resize'],
        chunkedRungs: 1,
        shared: true,
      } satisfies UpscalerInfo,
      openStream: async (format, listener) => {
        await new Promise((resolve) => setTimeout(resolve, this.#options.openMs ?? 40));
        const stream = new SimulatedStream(format, listener, () => this.work());
        this.streams.push(stream);
        return stream;
      },
      close: async () => undefined,
    };
  }

  work(): void {
    if (this.#working) return;
    for (let turn = 0; turn < this.streams.length; turn += 1) {
      const index = (this.#next + turn) % this.streams.length;
      const stream = this.streams[index];
      const pictures = stream?.takeChunk();
      if (stream === undefined || pictures === undefined) continue;
      this.#next = index + 1;
      this.#working = true;
      const workMs = this.#options.workMs(stream.chunks - 1, index);
      const { pictureMs = 0 } = this.#options;
      pictures.forEach((picture, place) => {
        const beforeEndMs = (pictures.length - 1 - place) * pictureMs;
        setTimeout(() => stream.deliver(picture, place === 0 ? workMs * 1000 : 0), workMs - beforeEndMs);
      });
      setTimeout(() => {
        this.#working = false;
        this.work();
      }, workMs);
      return;
    }
  }
}

class SimulatedStream implements UpscalerStream {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly #listener: UpscalerListener;
  readonly #onPush: () => void;
  readonly #inside: Picture[] = [];
  /** Of #inside, at work. */
  #taken = 0;
  chunks = 0;
  busyUs = 0;
  rung = 0;
  #closed = false;

  constructor(format: StreamFormat, listener: UpscalerListener, onPush: () => void) {
    this.outputWidth = format.sourceWidth;
    this.outputHeight = format.sourceHeight;
    this.#listener = listener;
    this.#onPush = onPush;
  }
  get pending(): number {
    return this.#inside.length;
  }
  get ready(): boolean {
    return !this.#closed && this.#inside.length < LIVE_PENDING;
  }
  push(picture: Picture): PushResult {
    if (!this.ready) return 'full';
    this.#inside.push(picture);
    this.#onPush();
    return 'accepted';
  }
  takeChunk(): Picture[] | undefined {
    const first = this.chunks === 0;
    const wanted = first ? FIRST_CHUNK_FRAMES : CHUNK_FRAMES + LOOK_AHEAD_FRAMES;
    const outputs = first ? FIRST_CHUNK_FRAMES - LOOK_AHEAD_FRAMES : CHUNK_FRAMES;
    if (this.#inside.length - this.#taken < wanted || this.#closed) return undefined;
    const chunk = this.#inside.slice(this.#taken, this.#taken + outputs);
    this.#taken += outputs;
    this.chunks += 1;
    return chunk;
  }
  deliver(picture: Picture, workUs: number): void {
    this.busyUs += workUs;
    if (this.#closed) return;
    this.#inside.shift();
    this.#taken -= 1;
    this.#listener.onPicture(picture);
  }
  setRung(rung: number): void {
    this.rung = rung;
  }
  async flush(): Promise<void> {
    // Not needed here.
  }
  async close(): Promise<void> {
    this.#closed = true;
  }
}

/** A picture that has left the pace stage. */
export interface Shown {
  readonly number: number;
  readonly atMs: number;
  /** From its arrival. */
  readonly addedMs: number;
}

/** One broadcast from decoder to encoder: the real queue, upscale stage and pace stage around a simulated engine. */
export class SimulatedBroadcast {
  readonly shown: Shown[] = [];
  readonly drops: { readonly reason: DropReason; readonly atMs: number }[] = [];
  readonly delays: { readonly atMs: number; readonly delayMs: number }[] = [];
  readonly stage: UpscaleStage;
  readonly pace: PaceStage;
  readonly #startUs: MonotonicUs = monotonicUs();
  readonly #share: EngineShare | undefined;
  #framesPerSecond: number;
  #stopped = false;

  constructor(engine: SimulatedEngine, options: { slots?: EngineSlots; framesPerSecond?: number } = {}) {
    const { slots, framesPerSecond = 30 } = options;
    this.#framesPerSecond = framesPerSecond;
    const place = slots?.take();
    this.#share = place === undefined ? undefined : new EngineShare(place);
    const upscaler = engine.upscaler();
    const drop = (reason: DropReason): void => void this.drops.push({ reason, atMs: this.#nowMs });
    const rate = (): number => this.#framesPerSecond;
    this.pace = new PaceStage({
      info: upscaler.info,
      framesPerSecond: rate,
      onPicture: ({ mediaTime, trace }) =>
        this.shown.push({
          number: Math.round(mediaTime / 100),
          atMs: this.#nowMs,
          addedMs: (monotonicUs() - trace.assembledAtUs) / 1000,
        }),
      onDrop: drop,
      onDelay: (delayMs) => this.delays.push({ atMs: this.#nowMs, delayMs }),
    });
    this.stage = new UpscaleStage(upscaler, {
      maxQueueMs: 100,
      maxResultPixels: Infinity,
      growAfterMs: 3000,
      onFirstRung: () => undefined,
      framesPerSecond: rate,
      share: this.#share,
      onPicture: (picture) => this.pace.push(picture),
      onDrop: drop,
      onFormat: () => undefined,
      onError: (error) => {
        throw error;
      },
    });
    this.#send();
  }

  get #nowMs(): number {
    return (monotonicUs() - this.#startUs) / 1000;
  }

  setFrameRate(framesPerSecond: number): void {
    this.#framesPerSecond = framesPerSecond;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.stage.close();
    this.pace.close();
  }

  /** Added latency of pictures shown from then on, ms. */
  added(fromMs: number, toMs = Infinity): number[] {
    return this.shown.filter(({ atMs }) => atMs >= fromMs && atMs < toMs).map(({ addedMs }) => addedMs);
  }

  /** Times between pictures shown from then on, ms. */
  intervals(fromMs: number, toMs = Infinity): number[] {
    const times = this.shown.filter(({ atMs }) => atMs >= fromMs && atMs < toMs).map(({ atMs }) => atMs);
    return times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0));
  }

  #dueMs = 0;
  #send(): void {
    if (this.#stopped) return;
    // Numbered by hundreds of ticks of the time line, so that the frame rate may change on the way.
    const picture = makePicture(16, 16, Math.round(this.#dueMs * 90));
    const now = monotonicUs();
    Object.assign(picture.trace, { receivedAtUs: now, assembledAtUs: now, decodedAtUs: now });
    this.#dueMs += 1000 / this.#framesPerSecond;
    setTimeout(() => this.#send(), Math.max(1, Math.round(this.#dueMs - this.#nowMs)));
    this.stage.push(picture);
  }
}
