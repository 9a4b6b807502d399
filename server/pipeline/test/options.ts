import type { PipelineOptions } from '../messages.ts';

/** Plain resize of sources up to Full HD; what a test is about it names itself. */
export function pipelineOptions(options: Partial<PipelineOptions>): PipelineOptions {
  return {
    name: 'test',
    upscaler: { kind: 'resize', scale: 4, filter: 'lanczos' },
    maxQueueMs: 100,
    maxSourcePixels: 1920 * 1088,
    maxResultPixels: 3840 * 2160,
    growAfterMs: 3000,
    keyframeIntervalSeconds: 10,
    keyframeMaxRatio: 8,
    ladder: true,
    spareDrawnContent: true,
    ...options,
  };
}
