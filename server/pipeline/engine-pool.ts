import { AppError } from '../errors.ts';
import type { UpscalerSpec } from '../upscalers/spec.ts';
import type { Upscaler, UpscalerInfo } from '../upscalers/upscaler.ts';
import { EngineSlots, type EngineSlot } from './engine-share.ts';
import type { PipelineListener } from './pipeline.ts';

/** Where a pipeline runs: an engine, and its slot there. */
export interface Placement {
  /** Index of the engine in the pool. */
  readonly engine: number;
  /** Opens that engine in the pipeline's thread. */
  readonly spec: UpscalerSpec;
  /** Where the pipelines on this engine meet; absent for engines that streams do not share, or when all slots are taken. */
  readonly slot: EngineSlot | undefined;
  /** @returns `listener`, with the loss of this engine kept from ending more than its own streams while other engines work */
  guard(listener: PipelineListener): PipelineListener;
  /** The pipeline is gone. Idempotent. */
  release(): void;
}

interface Engine {
  readonly spec: UpscalerSpec;
  readonly upscaler: Upscaler;
  readonly slots: EngineSlots | undefined;
  placements: number;
  lost: boolean;
}

/**
 * The engines of this process, one per device. Each is opened here, so that a wrong model is reported before anything listens and an
 * engine that streams share is loaded and warm before the first publisher comes; pipelines open it again by its spec.
 */
export class EnginePool {
  readonly #engines: readonly Engine[];
  #closing: Promise<void> | undefined;

  private constructor(engines: readonly Engine[]) {
    this.#engines = engines;
  }

  /**
   * @param specs one per device @param open createUpscaler, or a fake
   * @throws AppError as `open`; engines opened before it are closed
   */
  static async open(
    specs: readonly UpscalerSpec[],
    open: (spec: UpscalerSpec) => Promise<Upscaler>,
  ): Promise<EnginePool> {
    const engines: Engine[] = [];
    const pool = new EnginePool(engines);
    try {
      for (const spec of specs) {
        const upscaler = await open(spec);
        const slots = upscaler.info.shared === true ? new EngineSlots() : undefined;
        engines.push({ spec, upscaler, slots, placements: 0, lost: false });
      }
    } catch (error) {
      await pool.close();
      throw error;
    }
    return pool;
  }

  /** Of the first engine; all of them run the same model. */
  get info(): UpscalerInfo {
    const [first] = this.#engines;
    if (first === undefined) throw new AppError('internal', 'The engine pool is empty.');
    return first.upscaler.info;
  }

  /** Engines that work. */
  get size(): number {
    return this.#engines.filter(({ lost }) => !lost).length;
  }

  /** Puts one more pipeline on the engine with the fewest. @throws AppError engine.failed when none works any more */
  place(): Placement {
    const working = this.#engines.filter(({ lost }) => !lost);
    const [engine] = working.sort((a, b) => a.placements - b.placements);
    if (engine === undefined) throw new AppError('engine.failed', 'No engine works any more.', { scope: 'request' });
    engine.placements += 1;
    const slot = engine.slots?.take();
    let released = false;
    return {
      engine: this.#engines.indexOf(engine),
      spec: engine.spec,
      slot,
      guard: (listener) => this.#guard(listener, engine),
      release: () => {
        if (released) return;
        released = true;
        engine.placements -= 1;
        if (slot !== undefined) engine.slots?.release(slot);
      },
    };
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= Promise.all(this.#engines.map(({ upscaler }) => upscaler.close())).then(() => undefined);
    return this.#closing;
  }

  #guard(listener: PipelineListener, engine: Engine): PipelineListener {
    const onError = (error: AppError): void => {
      if (error.code !== 'engine.failed' || error.scope !== 'process') return listener.onError(error);
      engine.lost = true;
      // The last one: nothing can go on, the supervisor should restart the process.
      if (this.size === 0) return listener.onError(error);
      listener.onError(
        new AppError('engine.failed', `${error.message} The server goes on with its other engines: ${this.size}.`, {
          cause: error,
          scope: 'stream',
          context: { ...error.context, engine: this.#engines.indexOf(engine) },
          remedy: 'Publish again: another engine takes the stream.',
        }),
      );
    };
    return {
      onReady: (info) => listener.onReady(info),
      onFormat: (format) => listener.onFormat(format),
      onFrame: (frame) => listener.onFrame(frame),
      onNeedKeyframe: (reason) => listener.onNeedKeyframe(reason),
      onLadder: (step, label) => listener.onLadder(step, label),
      onStats: (stats) => listener.onStats(stats),
      onError,
    };
  }
}
