import type { UpscalerInfo } from '../upscalers/upscaler.ts';
import { monotonicUs } from '../media/clock.ts';
import type { MonotonicUs } from '../media/types.ts';
import { leastWaitShift, type ChunkPhase } from './chunk-phase.ts';
import type { EngineShare } from './engine-share.ts';
import type { Picture } from '../media/picture.ts';

/**
 * Keeps the chunks of streams that share one engine out of each other's way: a new stream leaves out a few of its first
 * pictures when its chunks would be complete together with another's, and every stream publishes its rhythm to the others.
 */
export class ChunkRhythm {
  readonly #info: UpscalerInfo;
  readonly #share: EngineShare;
  readonly #framesPerSecond: () => number;
  /** Pictures still to be left out; undefined before the first one is there. */
  #leaveOut: number | undefined;
  /** Pictures that have come out. */
  #pictures = 0;
  #busyUs = 0;
  #workUs = 0;

  constructor(info: UpscalerInfo, share: EngineShare, framesPerSecond: () => number) {
    this.#info = info;
    this.#share = share;
    this.#framesPerSecond = framesPerSecond;
  }

  /** Another stream begins. */
  restart(): void {
    this.#leaveOut = undefined;
    this.#busyUs = 0;
    this.#pictures = 0;
  }

  /** Called once for every picture that could go to the upscaler now. @returns true when it is left out */
  leavesOut(picture: Picture): boolean {
    this.#leaveOut ??= this.#choose(picture.trace.assembledAtUs);
    if (this.#leaveOut === 0) return false;
    this.#leaveOut -= 1;
    return true;
  }

  /** A picture has come out. @param busyUs the stream's, counted since it was opened */
  onPicture(picture: Picture, busyUs: number): void {
    // Chunk 0 has fewer pictures, takes longer and is out of rhythm.
    const place = this.#pictures - this.#headIndex;
    this.#pictures += 1;
    if (place < 0 || place % this.#info.chunkFrames !== 0) return;
    const workUs = busyUs - this.#busyUs;
    this.#busyUs = busyUs;
    if (place > 0 && workUs > 0) this.#workUs = workUs;
    this.#share.setPhase(this.#phase(picture.trace.assembledAtUs), monotonicUs());
  }

  /** Index of chunk 1's first picture: chunk 0 delivers what it takes without its look-ahead. */
  get #headIndex(): number {
    const { lookAheadFrames, firstChunkFrames = lookAheadFrames } = this.#info;
    return Math.max(0, firstChunkFrames - lookAheadFrames);
  }

  #choose(firstArrivedAtUs: MonotonicUs): number {
    const now = monotonicUs();
    const frameUs = 1e6 / this.#framesPerSecond();
    const own = this.#phase(firstArrivedAtUs + this.#headIndex * frameUs);
    const shift = leastWaitShift(own, frameUs, this.#info.chunkFrames - 1, this.#share.othersPhases(now));
    // Others may start before this stream has delivered a picture.
    this.#share.setPhase({ ...own, atUs: own.atUs + shift * frameUs }, now);
    return shift;
  }

  /** Chunks are complete a fixed number of frames after their first picture; all streams count from that picture. */
  #phase(atUs: MonotonicUs): ChunkPhase {
    return { atUs, periodUs: (1e6 * this.#info.chunkFrames) / this.#framesPerSecond(), workUs: this.#workUs };
  }
}
