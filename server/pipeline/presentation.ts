import type { UpscalerInfo } from '../engine/upscaler.ts';

/**
 * How long after its arrival a picture leaves the pipeline, by design: what audio is delayed by so that lips match, and
 * when the pacer releases pictures that come out of the upscaler in bursts. Fixed per model and frame rate; the overload
 * ladder does not move it.
 */

/** Decoding, a fast upscale and encoding on one core, rounded up: 320x180 to 720p takes 5 ms by resize. */
const RESIZE_MS = 10;
/** The same around a model that may use most of a frame's time at 30 fps. */
const FRAME_BY_FRAME_MS = 35;
/** Work on a chunk may take this share of the time the next one needs to gather; an engine near 1 cannot keep up anyway. */
const CHUNK_WORK_SHARE = 0.75;
const CHUNK_ENCODE_MS = 15;

/**
 * @param framesPerSecond of the source
 * @returns milliseconds. Chunked kinds: the first picture of a chunk waits for the chunk's others and the look-ahead, then
 *   for the work on them (FlashVSR at 30 fps: 7 + 4 frames + 6 frames of work = 582 ms).
 */
export function presentationDelayMs(
  info: Pick<UpscalerInfo, 'kind' | 'chunkFrames' | 'lookAheadFrames'>,
  framesPerSecond: number,
): number {
  const { kind, chunkFrames, lookAheadFrames } = info;
  const frameMs = 1000 / framesPerSecond;
  if (chunkFrames <= 1) {
    const workMs = kind === 'resize' ? RESIZE_MS : FRAME_BY_FRAME_MS;
    return Math.round(workMs + lookAheadFrames * frameMs);
  }
  const frames = chunkFrames - 1 + lookAheadFrames + CHUNK_WORK_SHARE * chunkFrames;
  return Math.round(frames * frameMs + CHUNK_ENCODE_MS);
}
