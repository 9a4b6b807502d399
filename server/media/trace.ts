import type { FrameTrace, MonotonicUs } from './types.ts';

/** The trace of a frame that has just arrived: 0 is "not there yet". */
export function newTrace(receivedAtUs: MonotonicUs, assembledAtUs: MonotonicUs): FrameTrace {
  const later = { decodedAtUs: 0, pushedAtUs: 0, upscaledAtUs: 0, pacedAtUs: 0, encodedAtUs: 0 };
  return { receivedAtUs, assembledAtUs, ...later };
}

/** A frame that was on its way already: every step at this time (files, tests). */
export function traceAt(atUs: MonotonicUs, receivedAtUs: MonotonicUs = atUs): FrameTrace {
  return {
    receivedAtUs,
    assembledAtUs: atUs,
    decodedAtUs: atUs,
    pushedAtUs: atUs,
    upscaledAtUs: atUs,
    pacedAtUs: atUs,
    encodedAtUs: atUs,
  };
}
