import { randomInt } from 'node:crypto';

/** A random SSRC that is not 0 (RFC 3550 section 8.1). */
export function randomSsrc(): number {
  return randomInt(1, 0xffffffff);
}

/** Of a stream and its retransmissions. */
export interface StreamSsrcs {
  readonly ssrc: number;
  readonly rtxSsrc: number;
}

export function randomSsrcs(): StreamSsrcs {
  return { ssrc: randomSsrc(), rtxSsrc: randomSsrc() };
}
