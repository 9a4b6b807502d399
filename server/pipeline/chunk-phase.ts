import type { MonotonicUs } from '../media/types.ts';

/** When a stream's chunks are complete: at `atUs` and every `periodUs` before and after. */
export interface ChunkPhase {
  readonly atUs: MonotonicUs;
  readonly periodUs: number;
  /** Engine time of one chunk; 0: not known yet. */
  readonly workUs: number;
}

/** Streams whose periods differ by more than this drift through every phase anyway. */
const SAME_PERIOD = 0.03;
/** Leaving out one more frame must save at least this much waiting per chunk. */
const WORTH_A_FRAME_US = 4_000;

/**
 * How many frames a new stream leaves out before its first chunk, so that its chunks are complete while the engine is not at
 * work on another stream's: a chunk that waits for another adds that wait to the delay of every picture.
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

/** How long two streams on one engine wait for each other per period: a chunk that is complete during the other's work waits. */
function mutualWaitUs(own: ChunkPhase, rival: ChunkPhase): number {
  const { periodUs } = own;
  // While the work is unknown, farthest apart is best.
  const guessUs = Math.max(own.workUs, rival.workUs) || periodUs / 2;
  const afterUs = (((own.atUs - rival.atUs) % periodUs) + periodUs) % periodUs;
  return Math.max(0, (rival.workUs || guessUs) - afterUs) + Math.max(0, (own.workUs || guessUs) - (periodUs - afterUs));
}
