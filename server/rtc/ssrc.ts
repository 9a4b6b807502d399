import { randomInt } from 'node:crypto';

/** A random SSRC that is not 0 (RFC 3550 section 8.1). */
export function randomSsrc(): number {
  return randomInt(1, 0xffffffff);
}
