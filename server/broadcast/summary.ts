import type { UpscalerInfo } from '../upscalers/upscaler.ts';
import type { DropReason, ResultCodec } from '../media/types.ts';
import type { LadderCause } from '../pipeline/ladder.ts';
import type { PipelineFormat, PipelineStats } from '../pipeline/messages.ts';
import type { FrameSummary } from './frame-meter.ts';
import type { SourceStats } from './source.ts';
import type { BroadcastStats, ModelSummary } from './statistics.ts';

/** What the pipeline has said so far. */
export interface PipelineView {
  readonly info: UpscalerInfo | undefined;
  readonly format: PipelineFormat | undefined;
  readonly stats: PipelineStats | undefined;
  /** Index into UpscalerInfo.rungs, and its name. */
  readonly rung: number;
  readonly rungLabel: string;
  readonly rungCause: LadderCause;
}

export interface SummaryInput {
  readonly model: ModelSummary;
  readonly pipeline: PipelineView;
  readonly source: SourceStats | undefined;
  readonly frames: FrameSummary;
  readonly upscaledPerSecond: number;
  readonly codec: ResultCodec | undefined;
  readonly ingestDrops: Readonly<Partial<Record<DropReason, number>>>;
  readonly viewers: number;
  readonly audioDelayMs: number;
  /** The source's packets reach viewers. */
  readonly sourceForwarded: boolean;
}

export function modelSummary({ kind, label, superResolution, scale, device }: UpscalerInfo): ModelSummary {
  return { kind, label, superResolution, scale, device };
}

function addDrops(...parts: Readonly<Partial<Record<DropReason, number>>>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const part of parts)
    for (const [reason, count] of Object.entries(part)) sum[reason] = (sum[reason] ?? 0) + count;
  return sum;
}

/** The statistics that source and subscribers get once a second. */
export function summarize(input: SummaryInput): BroadcastStats {
  const { pipeline, source, frames } = input;
  const { info, format, stats } = pipeline;
  return {
    source: {
      width: format?.sourceWidth ?? 0,
      height: format?.sourceHeight ?? 0,
      framesPerSecond: source?.framesPerSecond ?? 0,
      bitrateBps: source?.bitrateBps ?? 0,
      codec: source?.codec ?? '',
      packetsLost: source?.packetsLost ?? 0,
      timestampsReplaced: source?.timestampsReplaced ?? 0,
      reorderMs: stats?.reorderDelayMs ?? 0,
      forwarded: input.sourceForwarded,
    },
    output: {
      width: format?.outputWidth ?? 0,
      height: format?.outputHeight ?? 0,
      // Without subscribers nothing is encoded; the upscaler's own rate then shows that it works.
      framesPerSecond: frames.framesPerSecond > 0 ? frames.framesPerSecond : input.upscaledPerSecond,
      bitrateBps: frames.bitrateBps,
      codec: input.codec ?? '',
    },
    model: {
      ...(info === undefined ? input.model : modelSummary(info)),
      rung: pipeline.rung,
      rungLabel: pipeline.rungLabel,
      rungCause: pipeline.rungCause,
    },
    addedLatencyMs: frames.addedLatencyMs,
    steps: frames.steps,
    stepsP95: frames.stepsP95,
    drops: addDrops(input.ingestDrops, stats?.drops ?? {}),
    load: stats?.load ?? 0,
    pace: { delayMs: stats?.presentationDelayMs ?? 0, framesLate: stats?.framesLate ?? 0 },
    viewers: input.viewers,
    audio: { present: source?.hasAudio ?? false, delayMs: input.audioDelayMs },
  };
}
