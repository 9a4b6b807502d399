import { AppError } from '../errors.ts';
import type { AccessUnit, Rendition, ResultCodec } from '../media/types.ts';
import type { EnginePool, Placement } from './engine-pool.ts';
import type { EncoderRequest, PipelineSettings } from './messages.ts';
import type { Pipeline, PipelineListener } from './pipeline.ts';

type RunningPipeline = Pick<Pipeline, 'push' | 'setEncoders' | 'configure' | 'requestKeyframe' | 'reset' | 'close'>;

/** Makes a pipeline on an engine. @param onClosed when it is gone for good */
export type OpenPipeline = (
  placement: Placement,
  listener: PipelineListener,
  settings: PipelineSettings,
  onClosed: () => void,
) => RunningPipeline;

interface Run {
  readonly placement: Placement;
  readonly pipeline: RunningPipeline;
}

/**
 * One broadcast's pipeline on one of the pool's engines. When that engine is lost, or has no memory for the stream, a new pipeline takes
 * the stream on another one: it begins at the next keyframe with the encoders and settings as they are. The old one is closed meanwhile,
 * which a device that hangs can delay.
 */
export class PlacedPipeline {
  readonly #pool: EnginePool;
  readonly #open: OpenPipeline;
  readonly #listener: PipelineListener;
  readonly #closings = new Set<Promise<void>>();
  /** Engines without memory for this stream. */
  readonly #refused = new Set<number>();
  #settings: PipelineSettings;
  #encoders: readonly EncoderRequest[] = [];
  #run: Run | undefined;

  /** @throws AppError engine.failed when no engine works */
  constructor(pool: EnginePool, settings: PipelineSettings, listener: PipelineListener, open: OpenPipeline) {
    this.#pool = pool;
    this.#settings = settings;
    this.#listener = listener;
    this.#open = open;
    this.#start(pool.place());
  }

  push(unit: AccessUnit): void {
    this.#run?.pipeline.push(unit);
  }

  setEncoders(encoders: readonly EncoderRequest[]): void {
    this.#encoders = encoders;
    this.#run?.pipeline.setEncoders(encoders);
  }

  configure(settings: PipelineSettings): void {
    this.#settings = settings;
    this.#run?.pipeline.configure(settings);
  }

  requestKeyframe(codec: ResultCodec, rendition: Rendition): void {
    this.#run?.pipeline.requestKeyframe(codec, rendition);
  }

  reset(): void {
    this.#run?.pipeline.reset();
  }

  /** Resolves when every pipeline that the stream had is gone. */
  async close(): Promise<void> {
    this.#leave();
    await Promise.all(this.#closings);
  }

  #start(placement: Placement): void {
    // What a pipeline that has been left still says concerns nobody; the first message of a new one comes after this.
    const mine = (): boolean => this.#run?.placement === placement;
    const listener: PipelineListener = {
      onReady: (info) => mine() && this.#listener.onReady(info),
      onFormat: (format) => {
        if (!mine()) return;
        this.#refused.clear();
        this.#listener.onFormat(format);
      },
      onFrame: (frame) => mine() && this.#listener.onFrame(frame),
      onNeedKeyframe: (reason) => mine() && this.#listener.onNeedKeyframe(reason),
      onLadder: (step, label) => mine() && this.#listener.onLadder(step, label),
      onStats: (stats) => mine() && this.#listener.onStats(stats),
      onError: (error) => mine() && this.#onError(placement, error),
    };
    try {
      this.#run = { placement, pipeline: this.#open(placement, listener, this.#settings, () => placement.release()) };
    } catch (thrown) {
      placement.release();
      throw thrown;
    }
  }

  #onError({ engine }: Placement, error: AppError): void {
    if (error.code === 'engine.failed' && error.scope === 'process') this.#pool.lose(engine);
    else if (error.code === 'engine.memory' && error.scope !== 'frame') this.#refused.add(engine);
    else return this.#listener.onError(error);
    let next: Placement;
    try {
      next = this.#pool.place(this.#refused);
    } catch {
      // The last engine is lost (the supervisor should restart the process), or no other one has the memory.
      return this.#listener.onError(this.#ofThisStream(error));
    }
    this.#leave();
    this.#listener.onError(
      new AppError('engine.moved', `${error.message} The stream goes on on another device.`, {
        cause: error,
        context: { ...error.context, from: engine, to: next.engine },
      }),
    );
    this.#start(next);
    this.#run?.pipeline.setEncoders(this.#encoders);
    this.#listener.onNeedKeyframe('the stream moved to another engine');
  }

  /** The loss of one engine is the process's only when no other one works. */
  #ofThisStream(error: AppError): AppError {
    if (error.scope !== 'process' || this.#pool.size === 0) return error;
    return new AppError(error.code, `${error.message} No other device has room for this stream.`, {
      cause: error,
      scope: 'stream',
      context: error.context,
    });
  }

  #leave(): void {
    const run = this.#run;
    this.#run = undefined;
    if (run === undefined) return;
    const closing: Promise<void> = run.pipeline.close().finally(() => this.#closings.delete(closing));
    this.#closings.add(closing);
  }
}
