import type { EncodedFrame, MonotonicUs } from '../media/types.ts';

export interface FrameSummary {
  readonly framesPerSecond: number;
  readonly bitrateBps: number;
  readonly addedLatencyMs: { readonly p50: number; readonly p95: number };
  /** Medians of the window in ms. */
  readonly steps: {
    readonly assembleMs: number;
    readonly decodeMs: number;
    readonly upscaleMs: number;
    readonly encodeMs: number;
  };
}

/** @returns the q-quantile (0..1) by the nearest-rank method, 0 for no values */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? 0;
}

interface Sample {
  readonly addedMs: number;
  readonly assembleMs: number;
  readonly decodeMs: number;
  readonly upscaleMs: number;
  readonly encodeMs: number;
}

/** Sums up the frames that left since the last `take()`: rates, added latency and the time of every step. */
export class FrameMeter {
  #samples: Sample[] = [];
  #bytes = 0;
  #sinceUs: MonotonicUs;

  constructor(nowUs: MonotonicUs) {
    this.#sinceUs = nowUs;
  }

  /** @param sentAtUs when the frame's first packet went out */
  add(frame: EncodedFrame, sentAtUs: MonotonicUs): Sample {
    const { trace } = frame;
    const sample = {
      // From the complete frame in to the first packet out: what this server adds, without the publisher's own pacing.
      addedMs: (sentAtUs - trace.assembledAtUs) / 1e3,
      assembleMs: (trace.assembledAtUs - trace.receivedAtUs) / 1e3,
      decodeMs: (trace.decodedAtUs - trace.assembledAtUs) / 1e3,
      upscaleMs: (trace.upscaledAtUs - trace.decodedAtUs) / 1e3,
      encodeMs: (trace.encodedAtUs - trace.upscaledAtUs) / 1e3,
    };
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
    const median = (pick: (sample: Sample) => number): number => quantile(samples.map(pick), 0.5);
    const added = samples.map((sample) => sample.addedMs);
    return {
      framesPerSecond: samples.length / seconds,
      bitrateBps: (bytes * 8) / seconds,
      addedLatencyMs: { p50: quantile(added, 0.5), p95: quantile(added, 0.95) },
      steps: {
        assembleMs: median((s) => s.assembleMs),
        decodeMs: median((s) => s.decodeMs),
        upscaleMs: median((s) => s.upscaleMs),
        encodeMs: median((s) => s.encodeMs),
      },
    };
  }
}
