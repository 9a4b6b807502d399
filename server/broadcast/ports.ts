import type { AccessUnit, ResultCodec, Rendition } from '../media/types.ts';
import type { EncoderRequest, PipelineSettings } from '../pipeline/messages.ts';
import type { PipelineListener } from '../pipeline/pipeline.ts';

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
