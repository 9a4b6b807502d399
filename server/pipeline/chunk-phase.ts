import type { MonotonicUs } from '../media/types.ts';

/** When a stream's chunks get complete: at `atUs` and every `periodUs` before and after. */
export interface ChunkPhase {
  readonly atUs: MonotonicUs;
  readonly periodUs: number;
  /** Engine time of one chunk; 0: not known yet. */
  readonly workUs: number;
}

/** Streams whose periods differ by more than this drift through every phase anyway. */
const SAME_PERIOD = 0.03;
/** Leaving out a frame more must save at least so much waiting for every chunk to come. */
const WORTH_A_FRAME_US = 4_000;

/**
 * How many frames a new stream leaves out before its first chunk, so that its chunks get complete while the engine is not at
 * work on another stream's: a chunk that has to wait for another adds that wait to the delay of every picture, for ever.
 *
 * @param own as it would be without leaving out anything
 * @param frameUs of the new stream; @param most frames that may be left out
 * @returns 0..most
 */
export function leastWaitShift(own: ChunkPhase, frameUs: number, most: number, others: readonly ChunkPhase[]): number {
  const rivals = others.filter(({ periodUs }) => Math.abs(periodUs / own.periodUs - 1) <= SAME_PERIOD);
  if (rivals.length === 0) return 0;
  let best = { shift: 0, waitUs: Infinity };
  for (let shift = 0; shift <= most; shift += 1) {
    const atUs = own.atUs + shift * frameUs;
    const waitUs = rivals.reduce((sum, rival) => sum + mutualWaitUs({ ...own, atUs }, rival), 0);
    if (waitUs + WORTH_A_FRAME_US < best.waitUs) best = { shift, waitUs };
  }
  return best.shift;
}

/** What two streams with one engine wait for each other in a period: whoever comes while the other's chunk is at work. */
function mutualWaitUs(own: ChunkPhase, rival: ChunkPhase): number {
  const { periodUs } = own;
  // Not knowing, farthest apart is best.
  const guessUs = Math.max(own.workUs, rival.workUs) || periodUs / 2;
  const afterUs = (((own.atUs - rival.atUs) % periodUs) + periodUs) % periodUs;
  return Math.max(0, (rival.workUs || guessUs) - afterUs) + Math.max(0, (own.workUs || guessUs) - (periodUs - afterUs));
}
