import type { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { FrameTrace } from '../media/steps.ts';
import type { AccessUnit, EncodedFrame, MonotonicUs, ResultCodec, Rendition } from '../media/types.ts';
import type { Metrics } from '../metrics.ts';
import type { EncoderRequest, PipelineSettings } from '../pipeline/messages.ts';
import type { PipelineListener } from '../pipeline/pipeline.ts';
import type { Arrivals } from './arrivals.ts';
import type { Places } from './places.ts';
import type { BroadcastSettings } from './settings.ts';
import type { ModelSummary } from './statistics.ts';

/** What a broadcast needs of its pipeline (server/pipeline runs it in a worker thread; tests use a fake). */
export interface PipelinePort {
  push(unit: AccessUnit): void;
  /** The complete list of encoders wanted from now on. */
  setEncoders(encoders: readonly EncoderRequest[]): void;
  /** Keyframe interval and ladder as they are to be from now on. */
  configure(settings: PipelineSettings): void;
  requestKeyframe(codec: ResultCodec, rendition: Rendition): void;
  /** The publisher is gone for now: forget decoder state, deliver what is inside. */
  reset(): void;
  close(): Promise<void>;
}

export type { PipelineListener };

export type PipelineFactory = (name: string, listener: PipelineListener, settings: PipelineSettings) => PipelinePort;

/** What a broadcast is given by the registry that makes it. */
export interface BroadcastDependencies {
  readonly createPipeline: PipelineFactory;
  /** Of this broadcast at its start. */
  readonly settings: BroadcastSettings;
  readonly places: Places;
  readonly arrivals: Arrivals;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly nowUs: () => MonotonicUs;
  /** What the model is before the pipeline has said so itself. */
  readonly model: ModelSummary;
  /** The engine that all streams share is gone for good. */
  readonly onEngineFailed: (error: AppError) => void;
  /** The list of broadcasts has changed. */
  readonly onChange: () => void;
  /** A frame has gone all the way (trace files). */
  readonly onFrameSent?: ((name: string, frame: EncodedFrame, trace: FrameTrace) => void) | undefined;
}
