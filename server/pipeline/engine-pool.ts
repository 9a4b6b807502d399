import { AppError } from '../errors.ts';
import type { UpscalerSpec } from '../upscalers/spec.ts';
import type { Upscaler, UpscalerInfo } from '../upscalers/upscaler.ts';
import { EngineSlots, type EngineSlot } from './engine-share.ts';

/** Where a pipeline runs: an engine, and its slot there. */
export interface Placement {
  /** Index of the engine in the pool. */
  readonly engine: number;
  /** Opens that engine in the pipeline's thread. */
  readonly spec: UpscalerSpec;
  /** Where the pipelines on this engine meet; absent for engines that streams do not share, or when all slots are taken. */
  readonly slot: EngineSlot | undefined;
  /** The pipeline is gone. Idempotent. */
  release(): void;
}

/** An engine as an operator sees it. */
export interface EngineSnapshot {
  /** What tells two engines apart: the GPU's index as CUDA counts, else the device's name. */
  readonly device: string;
  readonly name: string;
  readonly streams: number;
  readonly lost: boolean;
}

interface Engine {
  readonly spec: UpscalerSpec;
  readonly upscaler: Upscaler;
  readonly slots: EngineSlots | undefined;
  placements: number;
  lost: boolean;
}

export interface EnginePoolOptions {
  /** createUpscaler, or a fake. */
  readonly open: (spec: UpscalerSpec) => Promise<Upscaler>;
  /** A device that no engine opens on is told here while another one works. Absent: every device must work. */
  readonly leaveOut?: (spec: UpscalerSpec, error: AppError) => void;
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
   * @param specs one per device
   * @throws AppError as `open`; engines opened before it are closed
   */
  static async open(specs: readonly UpscalerSpec[], { open, leaveOut }: EnginePoolOptions): Promise<EnginePool> {
    const engines: Engine[] = [];
    const pool = new EnginePool(engines);
    const failed: { readonly spec: UpscalerSpec; readonly error: AppError }[] = [];
    try {
      // One after the other: each reads the weights from the disk and checks them.
      for (const spec of specs) {
        try {
          const upscaler = await open(spec);
          const slots = upscaler.info.shared === true ? new EngineSlots() : undefined;
          engines.push({ spec, upscaler, slots, placements: 0, lost: false });
        } catch (thrown) {
          if (leaveOut === undefined) throw thrown;
          failed.push({ spec, error: AppError.from(thrown) });
        }
      }
      const [first] = failed;
      if (engines.length === 0 && first !== undefined) throw first.error;
    } catch (error) {
      await pool.close();
      throw error;
    }
    for (const { spec, error } of failed) leaveOut?.(spec, error);
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

  /**
   * Puts one more pipeline on the engine with the fewest.
   *
   * @param except engines that have refused this pipeline
   * @throws AppError engine.failed when no other one works
   */
  place(except: ReadonlySet<number> = new Set()): Placement {
    const working = this.#engines.filter(({ lost }, index) => !lost && !except.has(index));
    const [engine] = working.sort((a, b) => a.placements - b.placements);
    if (engine === undefined) throw new AppError('engine.failed', 'No engine works any more.', { scope: 'request' });
    engine.placements += 1;
    const slot = engine.slots?.take();
    let released = false;
    return {
      engine: this.#engines.indexOf(engine),
      spec: engine.spec,
      slot,
      release: () => {
        if (released) return;
        released = true;
        engine.placements -= 1;
        if (slot !== undefined) engine.slots?.release(slot);
      },
    };
  }

  /** Nothing is placed on this engine any more: CUDA gives a device whose context is broken back to a new process only. */
  lose(index: number): void {
    const engine = this.#engines[index];
    if (engine !== undefined) engine.lost = true;
  }

  snapshot(): EngineSnapshot[] {
    return this.#engines.map(({ spec, upscaler, placements, lost }) => {
      const name = upscaler.info.device;
      const device = spec.kind === 'flashvsr' && spec.deviceIndex !== undefined ? String(spec.deviceIndex) : name;
      return { device, name, streams: placements, lost };
    });
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= Promise.all(this.#engines.map(({ upscaler }) => upscaler.close())).then(() => undefined);
    return this.#closing;
  }
}
