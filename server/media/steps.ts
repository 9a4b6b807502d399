/** Microseconds of the monotonic clock, as `MonotonicUs` of types.ts, which imports this file. */
type TimeUs = number;

/**
 * The steps of a frame's way, in order: the one list that traces, metrics, statistics, trace files and the page's labels derive
 * from, with the words of docs/life-of-a-frame.md. A step with a stamp is timed from the stamp before it; `assemble` holds the time of
 * `order`, `fanOut` that of `packetize` and of `rewrite`.
 */
export const STEPS = [
  { name: 'receive', stamp: 'receivedAtUs' },
  { name: 'order' },
  { name: 'assemble', stamp: 'assembledAtUs' },
  { name: 'decode', stamp: 'decodedAtUs' },
  { name: 'convert', stamp: 'convertedAtUs' },
  { name: 'gather', stamp: 'gatheredAtUs' },
  { name: 'upscale', stamp: 'upscaledAtUs' },
  { name: 'pace', stamp: 'pacedAtUs' },
  { name: 'encode', stamp: 'encodedAtUs' },
  { name: 'packetize' },
  { name: 'fanOut', stamp: 'sentAtUs' },
  { name: 'rewrite' },
] as const;

type Stamped = Extract<(typeof STEPS)[number], { readonly stamp: string }>;
type Stamp = Stamped['stamp'];

/** When a frame left each step; 0: not yet. `receivedAtUs` is the arrival of its first packet. */
export type FrameTrace = Record<Stamp, TimeUs> & {
  /** How long the picture waited inside the decoder, for its place in presentation order (B-frames); part of `decode`. */
  heldUs?: TimeUs;
};

/** A step that takes time: every stamped one but the first. */
export type TimedStep = Exclude<Stamped['name'], 'receive'>;

const STAMPED = STEPS.filter((step): step is Stamped => 'stamp' in step);
export const TIMED_STEPS = STAMPED.slice(1).map(({ name }) => name as TimedStep);

/** Milliseconds of every timed step, for example `decodeMs`. */
export type StepTimes = Record<`${TimedStep}Ms`, number>;

export interface StepSpan {
  readonly step: TimedStep;
  readonly fromUs: TimeUs;
  readonly toUs: TimeUs;
}

/** The timed steps of a frame that has gone all the way. */
export function spansOf(trace: Readonly<FrameTrace>): readonly StepSpan[] {
  return TIMED_STEPS.map((step, index) => ({
    step,
    fromUs: trace[STAMPED[index]?.stamp ?? 'receivedAtUs'],
    toUs: trace[STAMPED[index + 1]?.stamp ?? 'sentAtUs'],
  }));
}

/** @param ofStep milliseconds of one step */
export function stepTimes(ofStep: (step: TimedStep) => number): StepTimes {
  return Object.fromEntries(TIMED_STEPS.map((step) => [`${step}Ms`, ofStep(step)])) as StepTimes;
}

/** A frame that was on its way already: every step at this time (files, tests). */
export function traceAt(atUs: TimeUs, receivedAtUs: TimeUs = atUs): FrameTrace {
  return { ...(Object.fromEntries(STAMPED.map(({ stamp }) => [stamp, atUs])) as FrameTrace), receivedAtUs };
}

const UNSTAMPED: Readonly<FrameTrace> = traceAt(0);

/** The trace of a frame that has just arrived; made for every frame, so it copies instead of going through the list of steps. */
export function newTrace(receivedAtUs: TimeUs, assembledAtUs: TimeUs): FrameTrace {
  return { ...UNSTAMPED, receivedAtUs, assembledAtUs };
}
