import type { AppError } from '../errors.ts';
import type { UpscalerInfo } from '../engine/upscaler.ts';
import type { AccessUnit, EncodedFrame, ResultCodec, Rung } from '../media/types.ts';
import type { EncoderRequest, PipelineFormat, PipelineStats } from '../pipeline/messages.ts';

/** What a broadcast needs of its pipeline (server/pipeline runs it in a worker thread; tests use a fake). */
export interface PipelinePort {
  push(unit: AccessUnit): void;
  /** The complete list of encoders wanted from now on. */
  setEncoders(encoders: readonly EncoderRequest[]): void;
  requestKeyframe(codec: ResultCodec, rung: Rung): void;
  /** The publisher is gone for now: forget decoder state, deliver what is inside. */
  reset(): void;
  close(): Promise<void>;
}

export interface PipelineListener {
  onReady(info: UpscalerInfo): void;
  onFormat(format: PipelineFormat): void;
  onFrame(frame: EncodedFrame): void;
  onNeedKeyframe(reason: string): void;
  onLadder(rung: number, label: string, reason: string): void;
  onStats(stats: PipelineStats): void;
  onError(error: AppError): void;
}

export type PipelineFactory = (name: string, listener: PipelineListener) => PipelinePort;
