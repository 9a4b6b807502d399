import { TIMED_STEPS } from '../media/steps.ts';
import type { EncodedFrame, MonotonicUs } from '../media/types.ts';
import { FrameMeter, type FrameSummary } from './frame-meter.ts';
import type { BroadcastDependencies } from './ports.ts';

/** Meters the pictures that went out: statistics, metrics, trace files. */
export class SentFrames {
  readonly #name: string;
  readonly #deps: Pick<BroadcastDependencies, 'metrics' | 'nowUs' | 'onFrameSent'>;
  readonly #meter: FrameMeter;
  #lastMediaTime = -Infinity;

  constructor(name: string, deps: Pick<BroadcastDependencies, 'metrics' | 'nowUs' | 'onFrameSent'>) {
    this.#name = name;
    this.#deps = deps;
    this.#meter = new FrameMeter(deps.nowUs());
  }

  /** One picture may be encoded for several codecs and renditions; it is metered once. */
  add(frame: EncodedFrame): void {
    if (frame.rendition !== 'full' || frame.mediaTime <= this.#lastMediaTime) return;
    this.#lastMediaTime = frame.mediaTime;
    const { metrics, nowUs, onFrameSent } = this.#deps;
    const trace = { ...frame.trace, sentAtUs: nowUs() };
    const sample = this.#meter.add(frame, trace);
    onFrameSent?.(this.#name, frame, trace);
    metrics.frame('sent');
    for (const step of TIMED_STEPS) metrics.step(step, sample.steps[`${step}Ms`]);
    metrics.step('added', sample.addedMs);
  }

  /** Since the last call. */
  take(nowUs: MonotonicUs): FrameSummary {
    return this.#meter.take(nowUs);
  }
}
