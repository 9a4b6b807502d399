import { quantile } from '../media/quantile.ts';
import { spansOf, stepTimes, type FrameTrace, type StepTimes, type TimedStep } from '../media/steps.ts';
import type { EncodedFrame, MonotonicUs } from '../media/types.ts';

export interface FrameSummary {
  readonly framesPerSecond: number;
  readonly bitrateBps: number;
  readonly addedLatencyMs: { readonly p50: number; readonly p95: number };
  /** Medians and 95th percentiles of the window. */
  readonly steps: StepTimes;
  readonly stepsP95: StepTimes;
}

export interface FrameSample {
  /** Time of every step. Together they are the added latency, but for `assemble`, which the publisher's own pacing makes. */
  readonly steps: StepTimes;
  /** Complete frame in to first packet out: what this server adds. */
  readonly addedMs: number;
}

function sampleOf(trace: Readonly<FrameTrace>): FrameSample {
  const spans = new Map(spansOf(trace).map(({ step, fromUs, toUs }) => [step, (toUs - fromUs) / 1e3]));
  return { addedMs: (trace.sentAtUs - trace.assembledAtUs) / 1e3, steps: stepTimes((step) => spans.get(step) ?? 0) };
}

/** Sums up the frames that left since the last `take()`: rates, added latency and the time of every step. */
export class FrameMeter {
  #samples: FrameSample[] = [];
  #bytes = 0;
  #sinceUs: MonotonicUs;

  constructor(nowUs: MonotonicUs) {
    this.#sinceUs = nowUs;
  }

  /** @param trace of a frame whose first packet went out */
  add(frame: EncodedFrame, trace: Readonly<FrameTrace>): FrameSample {
    const sample = sampleOf(trace);
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
      steps: stepTimes(quantileOf(samples, 0.5)),
      stepsP95: stepTimes(quantileOf(samples, 0.95)),
    };
  }
}

function quantileOf(samples: readonly FrameSample[], q: number): (step: TimedStep) => number {
  return (step) =>
    quantile(
      samples.map(({ steps }) => steps[`${step}Ms`]),
      q,
    );
}
