import type { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { AccessUnit, DropReason, EncodedFrame, MonotonicUs, Rendition, ResultCodec } from '../media/types.ts';
import type { Metrics } from '../metrics.ts';
import type { EncoderRequest, PipelineFormat, PipelineStats } from '../pipeline/messages.ts';
import { presentationDelayMs } from '../pipeline/presentation.ts';
import type { UpscalerInfo } from '../upscalers/upscaler.ts';
import type { Place, Places } from './places.ts';
import type { PipelineFactory, PipelinePort } from './ports.ts';
import type { BroadcastSettings } from './settings.ts';
import type { PipelineView } from './summary.ts';

export interface PipelineLinkDependencies {
  readonly name: string;
  readonly createPipeline: PipelineFactory;
  readonly places: Places;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly nowUs: () => MonotonicUs;
  /** The engine that all streams share is gone for good. */
  readonly onEngineFailed: (error: AppError) => void;
}

export type Sizes = Pick<PipelineFormat, 'sourceWidth' | 'sourceHeight' | 'outputWidth' | 'outputHeight'>;

export interface PipelineLinkEvents {
  onFrame(frame: EncodedFrame): void;
  onNeedKeyframe(): void;
  /** Pictures leave this long after their arrival, by the model's design or by measurement. */
  onPresentationDelay(delayMs: number): void;
  /** Source or result have another size. */
  onSizes(): void;
  /** The worker died and is started again, or the stream moved to another engine: decoders begin again at a keyframe. */
  onCrashed(): void;
  /** Nothing more will come. */
  onFailed(error: AppError): void;
}

/** What the audio's delay is computed for until the pipeline knows the source's rate. */
const NOMINAL_FPS = 30;
/** A source that changes its size with every frame is logged this often, with the number of changes. */
const FORMAT_LOG_INTERVAL_US = 5_000_000;

const EMPTY_VIEW: PipelineView = {
  info: undefined,
  format: undefined,
  stats: undefined,
  rung: 0,
  rungLabel: '',
  rungCause: 'load',
};

/** A broadcast's pipeline: there or not, with its place on the machine, what it last said, and what to do about its errors. */
export class PipelineLink {
  readonly #deps: PipelineLinkDependencies;
  readonly #events: PipelineLinkEvents;
  #running: { readonly pipeline: PipelinePort; readonly place: Place } | undefined;
  #view = EMPTY_VIEW;
  #upscaledBefore = 0;
  #keyframesBefore = 0;
  #dropsBefore: Partial<Record<DropReason, number>> = {};
  #formatLoggedAtUs: MonotonicUs = -Infinity;
  #formatsNotLogged = 0;

  constructor(deps: PipelineLinkDependencies, events: PipelineLinkEvents) {
    this.#deps = deps;
    this.#events = events;
  }

  get open(): boolean {
    return this.#running !== undefined;
  }
  get view(): PipelineView {
    return this.#view;
  }
  /** Of source and result; zero until a picture has come. */
  get sizes(): Sizes {
    const { sourceWidth = 0, sourceHeight = 0, outputWidth = 0, outputHeight = 0 } = this.#view.format ?? {};
    return { sourceWidth, sourceHeight, outputWidth, outputHeight };
  }

  /** @param place held until the pipeline's thread is gone */
  start(place: Place, settings: BroadcastSettings): void {
    if (this.#running !== undefined) throw new Error('the pipeline runs already');
    const pipeline = this.#deps.createPipeline(
      this.#deps.name,
      {
        onReady: (info) => this.#onReady(info),
        onFormat: (format) => this.#onFormat(format),
        onFrame: (frame) => this.#events.onFrame(frame),
        onNeedKeyframe: (reason) => {
          this.#deps.log.debug({ reason }, 'pipeline.needsKeyframe');
          this.#events.onNeedKeyframe();
        },
        onLadder: ({ rung, cause, reason }, rungLabel) => {
          this.#view = { ...this.#view, rung, rungLabel, rungCause: cause };
          this.#deps.log[cause === 'content' ? 'info' : 'warn']({ rung, rungLabel, cause, reason }, 'ladder.moved');
        },
        onStats: (stats) => this.#onStats(stats),
        onError: (error) => this.#onError(error),
      },
      settings,
    );
    this.#running = { pipeline, place };
  }

  push(unit: AccessUnit): void {
    this.#running?.pipeline.push(unit);
  }

  setEncoders(encoders: readonly EncoderRequest[]): void {
    this.#running?.pipeline.setEncoders(encoders);
  }

  requestKeyframe(codec: ResultCodec, rendition: Rendition): void {
    this.#running?.pipeline.requestKeyframe(codec, rendition);
  }

  configure(settings: BroadcastSettings): void {
    this.#running?.pipeline.configure(settings);
  }

  /** The source is gone for now: forget decoder state, deliver what is inside. */
  reset(): void {
    this.#running?.pipeline.reset();
  }

  async close(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    this.#view = { ...this.#view, format: undefined, stats: undefined };
    this.#upscaledBefore = 0;
    this.#keyframesBefore = 0;
    this.#dropsBefore = {};
    if (running !== undefined) await this.#deps.places.releaseAfter(running.place, running.pipeline.close());
  }

  /** Pictures upscaled since the last call. */
  takeUpscaled(): number {
    const upscaled = this.#view.stats?.framesUpscaled ?? 0;
    const since = Math.max(0, upscaled - this.#upscaledBefore);
    this.#upscaledBefore = upscaled;
    return since;
  }

  toJSON(): object {
    const { info, format, stats, rung, rungLabel, rungCause } = this.#view;
    return { open: this.open, model: info?.label, format, rung, rungLabel, rungCause, stats };
  }

  #onReady(info: UpscalerInfo): void {
    this.#view = { ...this.#view, info, rung: 0, rungLabel: info.rungs[0] ?? info.label };
    this.#events.onPresentationDelay(presentationDelayMs(info, NOMINAL_FPS));
    this.#deps.log.info({ model: info.label, device: info.device }, 'pipeline.ready');
  }

  #onFormat(format: PipelineFormat): void {
    const before = this.#view.format;
    this.#view = { ...this.#view, format };
    // Chunked kinds find their delay by measuring, within the first seconds.
    if (format.presentationDelayMs !== undefined) this.#events.onPresentationDelay(format.presentationDelayMs);
    if (before !== undefined && sameSizes(before, format)) {
      this.#deps.log.debug({ presentationDelayMs: format.presentationDelayMs }, 'pipeline.delay');
      return;
    }
    this.#logFormat(format);
    this.#events.onSizes();
  }

  #logFormat(format: PipelineFormat): void {
    const nowUs = this.#deps.nowUs();
    if (nowUs - this.#formatLoggedAtUs < FORMAT_LOG_INTERVAL_US) {
      this.#formatsNotLogged += 1;
      return;
    }
    this.#formatLoggedAtUs = nowUs;
    this.#deps.log.info({ ...format, changesNotLogged: this.#formatsNotLogged }, 'pipeline.format');
    this.#formatsNotLogged = 0;
  }

  #onStats(stats: PipelineStats): void {
    this.#view = { ...this.#view, stats };
    for (const [reason, total] of Object.entries(stats.drops) as [DropReason, number][]) {
      this.#deps.metrics.dropped(reason, Math.max(0, total - (this.#dropsBefore[reason] ?? 0)));
    }
    this.#dropsBefore = { ...stats.drops };
    const keyframes = Math.max(0, stats.keyframesEncoded - this.#keyframesBefore);
    this.#keyframesBefore = stats.keyframesEncoded;
    this.#deps.metrics.keyframes(keyframes);
  }

  #onError(error: AppError): void {
    this.#deps.metrics.error(error.code);
    this.#deps.log.warn({ code: error.code, scope: error.scope, reason: error.message }, 'pipeline.error');
    if (error.code === 'pipeline.crashed' || error.code === 'engine.moved') {
      // The next worker counts from zero.
      this.#dropsBefore = {};
      this.#keyframesBefore = 0;
      return this.#events.onCrashed();
    }
    if (error.scope === 'frame') return;
    if (error.code === 'engine.failed' && error.scope === 'process') this.#deps.onEngineFailed(error);
    this.#events.onFailed(error);
  }
}

function sameSizes(a: PipelineFormat, b: PipelineFormat): boolean {
  return (
    a.sourceWidth === b.sourceWidth &&
    a.sourceHeight === b.sourceHeight &&
    a.outputWidth === b.outputWidth &&
    a.outputHeight === b.outputHeight
  );
}
