import type { UpscalerInfo } from '../upscalers/upscaler.ts';

/**
 * How long after its arrival a picture leaves the pipeline, by design: what audio is to be delayed by so that lips match.
 * For chunked kinds it is what the pacer begins with; from the first pictures on it is measured (pace_stage.ts). The overload
 * ladder does not move it.
 */

/** Decoding, a fast upscale and encoding on one core, rounded up: 320x180 to 720p takes 5 ms by resize. */
const RESIZE_MS = 10;
/** The same around a model that may use most of a frame's time at 30 fps. */
const FRAME_BY_FRAME_MS = 35;
/** A guess of a chunk's work, as a share of the time the next one needs to gather: half, as an engine with room for two streams. */
const CHUNK_WORK_SHARE = 0.5;
const MARGIN_MS = 8;

type Shape = Pick<UpscalerInfo, 'chunkFrames' | 'lookAheadFrames'>;

/** Milliseconds that the first picture of a chunk waits for the chunk's others and the look-ahead; no engine can be faster. */
export function gatherDelayMs({ chunkFrames, lookAheadFrames }: Shape, framesPerSecond: number): number {
  return ((chunkFrames - 1 + lookAheadFrames) * 1000) / framesPerSecond;
}

/**
 * @param framesPerSecond of the source
 * @returns milliseconds. Chunked kinds: gathering, then the work (FlashVSR at 30 fps: 7 + 4 frames + 4 frames of work = 508 ms).
 */
export function presentationDelayMs(info: Shape & Pick<UpscalerInfo, 'kind'>, framesPerSecond: number): number {
  const gatherMs = gatherDelayMs(info, framesPerSecond);
  if (info.chunkFrames <= 1) return Math.round(gatherMs + (info.kind === 'resize' ? RESIZE_MS : FRAME_BY_FRAME_MS));
  const workMs = (CHUNK_WORK_SHARE * 1000 * info.chunkFrames) / framesPerSecond;
  return Math.round(gatherMs + workMs + MARGIN_MS);
}
