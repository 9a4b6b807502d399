import type { DropReason, MonotonicUs } from '../media/types.ts';
import type { PipelineStats } from './messages.ts';

type Step = 'decode' | 'upscale' | 'encode';

/** Counts and times of one pipeline; `snapshot` closes a second. */
export class PipelineCounters {
  framesDecoded = 0;
  framesUpscaled = 0;
  framesEncoded = 0;
  keyframesEncoded = 0;
  readonly #drops: Partial<Record<DropReason, number>> = {};
  readonly #times: Record<Step, number[]> = { decode: [], upscale: [], encode: [] };
  #queueDrops = 0;

  drop(reason: DropReason): void {
    this.#drops[reason] = (this.#drops[reason] ?? 0) + 1;
    if (reason === 'queue-full' || reason === 'stale') this.#queueDrops += 1;
  }

  time(step: Step, fromUs: MonotonicUs, toUs: MonotonicUs): void {
    this.#times[step].push(toUs - fromUs);
  }

  /** Pictures lost in front of the upscaler since the last call. */
  takeQueueDrops(): number {
    const drops = this.#queueDrops;
    this.#queueDrops = 0;
    return drops;
  }

  snapshot(
    now: Pick<
      PipelineStats,
      'queueDepth' | 'load' | 'ladderRung' | 'presentationDelayMs' | 'reorderDelayMs' | 'framesLate'
    >,
  ): PipelineStats {
    const { framesDecoded, framesUpscaled, framesEncoded, keyframesEncoded } = this;
    return {
      framesDecoded,
      framesUpscaled,
      framesEncoded,
      keyframesEncoded,
      drops: { ...this.#drops },
      decodeMs: this.#medianMs('decode'),
      upscaleMs: this.#medianMs('upscale'),
      encodeMs: this.#medianMs('encode'),
      ...now,
    };
  }

  /** Median of the second, 0 when nothing happened; starts the next one. */
  #medianMs(step: Step): number {
    const times = this.#times[step].sort((a, b) => a - b);
    this.#times[step] = [];
    return (times[times.length >> 1] ?? 0) / 1000;
  }
}
