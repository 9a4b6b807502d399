import '../upscalers/onnx/quiet-runtime.ts';
import { Worker } from 'node:worker_threads';
import { BOOT } from '../boot.ts';
import type { UpscalerInfo } from '../upscalers/upscaler.ts';
import { AppError } from '../errors.ts';
import type { AccessUnit, EncodedFrame, ResultCodec, Rendition } from '../media/types.ts';
import type { LadderStep } from './ladder.ts';
import type {
  EncoderRequest,
  FromPipeline,
  PipelineFormat,
  PipelineOptions,
  PipelineSettings,
  PipelineStats,
  ToPipeline,
} from './messages.ts';
import { UnitWindow } from './unit-window.ts';

/** What a pipeline reports to its broadcast; called on the thread that made it. */
export interface PipelineListener {
  onReady(info: UpscalerInfo): void;
  onFormat(format: PipelineFormat): void;
  onFrame(frame: EncodedFrame): void;
  onNeedKeyframe(reason: string): void;
  /** @param label of the rung, for people */
  onLadder(step: LadderStep, label: string): void;
  onStats(stats: PipelineStats): void;
  /**
   * Scope `frame`: it goes on by itself. `pipeline.crashed`: the worker died and is started again. Any other error of
   * scope `stream` or `process`: nothing more will come until something changes (another source, another model).
   */
  onError(error: AppError): void;
}

type State = 'running' | 'restarting' | 'closing' | 'closed';

const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 8_000;
/** A worker that ran this long was healthy: its end resets the backoff. */
const HEALTHY_MS = 30_000;
const CLOSE_TIMEOUT_MS = 3_000;
/** Loading takes half a second; on a machine that is very busy, many. */
const LOAD_TIMEOUT_MS = 60_000;
const BEHIND = 'units were left out in front of the pipeline';

/** One broadcast's pipeline as the RTP thread sees it: a worker thread that is started again when it dies. */
export class Pipeline {
  /** As they are now: a worker that replaces a dead one begins with them. */
  #options: PipelineOptions;
  readonly #listener: PipelineListener;
  readonly #onClosed: () => void;
  #state: State = 'running';
  #worker: Worker;
  #startedAtMs = performance.now();
  #backoffMs = FIRST_BACKOFF_MS;
  #restartTimer: NodeJS.Timeout | undefined;
  /** For a worker that replaces a dead one. */
  #encoders: readonly EncoderRequest[] = [];
  #closing: Promise<void> | undefined;
  /** The present worker has loaded its modules. */
  #listening = false;
  #whenListening: Promise<void> = Promise.resolve();
  /** To the present worker. */
  #units = this.#newWindow();

  /** @param onClosed when the thread is gone for good */
  constructor(options: PipelineOptions, listener: PipelineListener, onClosed: () => void = () => undefined) {
    this.#options = options;
    this.#listener = listener;
    this.#onClosed = onClosed;
    this.#worker = this.#spawn();
  }

  /** The unit is dropped when no worker is there to take it; it waits while one loads, within the bounds of UnitWindow. */
  push(unit: AccessUnit): void {
    if (this.#state !== 'running') return;
    const complete = !this.#units.needsKeyframe;
    this.#units.push(unit);
    if (complete && this.#units.needsKeyframe) this.#listener.onNeedKeyframe(BEHIND);
  }

  setEncoders(encoders: readonly EncoderRequest[]): void {
    this.#encoders = encoders;
    this.#send({ type: 'encoders', encoders });
  }

  configure({ keyframeIntervalSeconds, ladder }: PipelineSettings): void {
    this.#options = { ...this.#options, keyframeIntervalSeconds, ladder };
    this.#send({ type: 'settings', settings: { keyframeIntervalSeconds, ladder } });
  }

  requestKeyframe(codec: ResultCodec, rendition: Rendition): void {
    this.#send({ type: 'keyframe', codec, rendition });
  }

  reset(): void {
    this.#units.clear();
    this.#send({ type: 'reset' });
  }

  /**
   * Idempotent; resolves when the thread is gone, which a stuck device call can delay by at most three seconds and a thread
   * that is still loading until it has loaded.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#restartTimer);
    const alive = this.#state === 'running';
    this.#state = 'closing';
    if (alive) {
      const worker = this.#worker;
      const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
      worker.postMessage({ type: 'close' } satisfies ToPipeline);
      // A thread that is ended while it loads a native addon takes the whole process with it (napi_throw is fatal then), so
      // one that has not begun to listen yet is waited for: it finds the message above as soon as it has loaded.
      if (!this.#listening) await settled([gone, this.#whenListening], LOAD_TIMEOUT_MS);
      if (this.#listening) {
        await settled([gone], CLOSE_TIMEOUT_MS);
        await worker.terminate();
      }
    }
    this.#state = 'closed';
    this.#onClosed();
  }

  #send(message: ToPipeline, transfer: ArrayBuffer[] = []): void {
    if (this.#state === 'running') this.#worker.postMessage(message, transfer);
  }

  #newWindow(): UnitWindow {
    return new UnitWindow((unit) => this.#send({ type: 'accessUnit', unit }, [unit.data.buffer as ArrayBuffer]));
  }

  #onTaken(units: number): void {
    this.#units.taken(units);
    // Asked for again: the request at the gap's begin may be a minute old, and the publisher another.
    if (this.#units.needsKeyframe) this.#listener.onNeedKeyframe(BEHIND);
  }

  #spawn(): Worker {
    // Flags of the parent (tsx's loader, vitest's) are not for the worker: boot.mjs brings its own loader.
    const worker = new Worker(BOOT, {
      name: `pipeline ${this.#options.name}`,
      argv: [new URL('./worker.ts', import.meta.url).href],
      workerData: this.#options,
      execArgv: [],
    });
    this.#startedAtMs = performance.now();
    this.#listening = false;
    this.#whenListening = new Promise((resolve) => {
      worker.on('message', ({ type }: FromPipeline) => {
        if (type === 'taken') return;
        this.#listening = true;
        resolve();
      });
    });
    let cause: unknown;
    worker.on('message', (message: FromPipeline) => {
      try {
        this.#onMessage(message);
      } catch (thrown) {
        // A listener's defect ends this stream; from an event handler it would end the process, and with it every other one.
        this.#listener.onError(AppError.from(thrown));
      }
    });
    worker.on('error', (error: unknown) => {
      cause = error;
    });
    worker.on('exit', (code) => this.#onExit(code, cause));
    return worker;
  }

  #onMessage(message: FromPipeline): void {
    if (this.#state === 'closed') return;
    const listener = this.#listener;
    switch (message.type) {
      case 'ready':
        return listener.onReady(message.info);
      case 'format':
        return listener.onFormat(message.format);
      case 'frame':
        return listener.onFrame(message.frame);
      case 'needKeyframe':
        return listener.onNeedKeyframe(message.reason);
      case 'ladder':
        return listener.onLadder(message.step, message.label);
      case 'stats':
        return listener.onStats(withDropped(message.stats, this.#units.dropped));
      case 'taken':
        return this.#onTaken(message.units);
      case 'error':
        return listener.onError(AppError.fromJSON(message.error));
      case 'closed':
        return undefined;
    }
  }

  #onExit(code: number, cause: unknown): void {
    if (this.#state !== 'running') return;
    this.#state = 'restarting';
    const ranMs = performance.now() - this.#startedAtMs;
    if (ranMs > HEALTHY_MS) this.#backoffMs = FIRST_BACKOFF_MS;
    const waitMs = this.#backoffMs;
    this.#backoffMs = Math.min(MAX_BACKOFF_MS, this.#backoffMs * 2);
    this.#restartTimer = setTimeout(() => this.#restart(), waitMs);
    const why = cause instanceof Error ? cause.message : `exit code ${code}`;
    this.#listener.onError(
      new AppError('pipeline.crashed', `The pipeline of "${this.#options.name}" died: ${why}. It starts again.`, {
        cause,
        context: { exitCode: code, ranMs, restartInMs: waitMs },
      }),
    );
  }

  #restart(): void {
    if (this.#state !== 'restarting') return;
    this.#units = this.#newWindow();
    this.#worker = this.#spawn();
    this.#state = 'running';
    this.#send({ type: 'encoders', encoders: this.#encoders });
    this.#listener.onNeedKeyframe('the pipeline was started again');
  }
}

function withDropped(stats: PipelineStats, dropped: number): PipelineStats {
  return dropped === 0 ? stats : { ...stats, drops: { ...stats.drops, stale: (stats.drops.stale ?? 0) + dropped } };
}

/** Resolves with the first of them, or when the time is over. */
async function settled(promises: readonly Promise<void>[], timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([...promises, late]);
  clearTimeout(timer);
}
