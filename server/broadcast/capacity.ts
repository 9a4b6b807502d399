import type { Config } from '../config/config.ts';
import type { UpscalerSpec } from '../upscalers/spec.ts';

/** The overload ladder makes room for about this many on one GPU. */
const STREAMS_PER_ENGINE = 8;

/**
 * How many broadcasts this machine takes at once when `limits.maxBroadcasts` is `auto`. A guess on the safe side for CPU
 * kinds (the overload ladder takes the rest); FlashVSR counts its own streams by memory and refuses with `engine.memory`.
 * @param machine its logical processors, and the engines of the pool
 */
export function broadcastCapacity(
  limits: Config['limits'],
  spec: UpscalerSpec,
  machine: { readonly cores: number; readonly engines: number },
): number {
  const { cores, engines } = machine;
  if (limits.maxBroadcasts !== 'auto') return limits.maxBroadcasts;
  switch (spec.kind) {
    case 'resize':
      // Decode, Lanczos x4 and x264 of one 320x180 stream at 30 fps take a fifth of a core (bench:live).
      return Math.max(2, cores * 2);
    case 'onnx':
      // Two always: on two cores a second broadcast steps the ladder down, which is better than a closed door.
      return Math.max(2, Math.floor(cores / spec.threads));
    case 'flashvsr':
      return STREAMS_PER_ENGINE * engines;
  }
}
