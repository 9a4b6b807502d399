import type { UpscalerInfo } from '../engine/upscaler.ts';
export function presentationDelayMs(info: UpscalerInfo, framesPerSecond: number): number {
  return info.chunkFrames === 1 ? 20 : ((info.chunkFrames + info.lookAheadFrames) * 1000) / framesPerSecond + 100;
}
