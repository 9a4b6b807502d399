import { quantile } from '../media/quantile.ts';
import type { EncodedFrame, FrameTrace, MonotonicUs } from '../media/types.ts';

/**
 * A frame's way through this server in order, ms; together they are the added latency, but for `assemble`, which the
 * publisher's own pacing makes. `upscale` of a chunked model holds gathering the chunk and its look-ahead.
 */
export const STEPS = ['assemble', 'decode', 'queue', 'upscale', 'pace', 'encode', 'send'] as const;
export type Step = (typeof STEPS)[number];
export type StepTimes = Readonly<Record<`${Step}Ms`, number>>;

export interface FrameSummary {
  readonly framesPerSecond: number;
  readonly bitrateBps: number;
  readonly addedLatencyMs: { readonly p50: number; readonly p95: number };
  /** Medians and 95th percentiles of the window. */
  readonly steps: StepTimes;
  readonly stepsP95: StepTimes;
}

export interface FrameSample extends StepTimes {
  readonly addedMs: number;
}

function sampleOf(trace: Readonly<FrameTrace>, sentAtUs: MonotonicUs): FrameSample {
  const ms = (fromUs: MonotonicUs, toUs: MonotonicUs): number => (toUs - fromUs) / 1e3;
  return {
    // From the complete frame in to the first packet out: what this server adds, without the publisher's own pacing.
    addedMs: ms(trace.assembledAtUs, sentAtUs),
    assembleMs: ms(trace.receivedAtUs, trace.assembledAtUs),
    decodeMs: ms(trace.assembledAtUs, trace.decodedAtUs),
    queueMs: ms(trace.decodedAtUs, trace.pushedAtUs),
    upscaleMs: ms(trace.pushedAtUs, trace.upscaledAtUs),
    paceMs: ms(trace.upscaledAtUs, trace.pacedAtUs),
    encodeMs: ms(trace.pacedAtUs, trace.encodedAtUs),
    sendMs: ms(trace.encodedAtUs, sentAtUs),
  };
}

/** Sums up the frames that left since the last `take()`: rates, added latency and the time of every step. */
export class FrameMeter {
  #samples: FrameSample[] = [];
  #bytes = 0;
  #sinceUs: MonotonicUs;

  constructor(nowUs: MonotonicUs) {
    this.#sinceUs = nowUs;
  }

  /** @param sentAtUs when the frame's first packet went out */
  add(frame: EncodedFrame, sentAtUs: MonotonicUs): FrameSample {
    const sample = sampleOf(frame.trace, sentAtUs);
    this.#samples.push(sample);
    this.#bytes += frame.data.length;
    return sample;
  }

  take(nowUs: MonotonicUs): FrameSummary {
    const seconds = Math.max(1e-3, (nowUs - this.#sinceUs) / 1e6);
    const samples = this.#samples;
    const bytes = this.#bytes;
    this.#samples = [];
    this.#bytes = 0;
    this.#sinceUs = nowUs;
    const added = samples.map((sample) => sample.addedMs);
    return {
      framesPerSecond: samples.length / seconds,
      bitrateBps: (bytes * 8) / seconds,
      addedLatencyMs: { p50: quantile(added, 0.5), p95: quantile(added, 0.95) },
      steps: stepTimes(samples, 0.5),
      stepsP95: stepTimes(samples, 0.95),
    };
  }
}

function stepTimes(samples: readonly FrameSample[], q: number): StepTimes {
  const of = (step: Step): [`${Step}Ms`, number] => {
    const key = `${step}Ms` as const;
    return [
      key,
      quantile(
        samples.map((sample) => sample[key]),
        q,
      ),
    ];
  };
  return Object.fromEntries(STEPS.map(of)) as StepTimes;
}
