import type { ScaleFilter } from '../codec/scaler.ts';
import type { StreamFormat } from './upscaler.ts';

/** What every kind knows of a plain resize, the last rung of their ladders. */

const LABELS: Readonly<Record<ScaleFilter, string>> = {
  lanczos: 'Lanczos resize',
  bicubic: 'bicubic resize',
  bilinear: 'bilinear resize',
  fast_bilinear: 'fast bilinear resize',
};

/** Name for people; it never says super-resolution. */
export function resizeLabel(filter: ScaleFilter): string {
  return LABELS[filter];
}

/** Enlarging beyond 4K would cost every core of the machine for a picture no browser shows in full. */
const MAX_RESULT_PIXELS = 3840 * 2160;

/**
 * Sides after scaling, even because 4:2:0 encoders need it: the nearest even number, so the aspect stays within a pixel.
 * Sources that would become larger than 4K are enlarged to that at most, never made smaller than they came.
 */
export function scaledSize(
  { sourceWidth, sourceHeight, maxResultPixels = MAX_RESULT_PIXELS }: StreamFormat,
  scale: number,
): { width: number; height: number } {
  const largest = Math.sqrt(maxResultPixels / (sourceWidth * sourceHeight));
  const used = Math.min(scale, Math.max(1, largest));
  const even = (side: number): number => Math.max(2, 2 * Math.round((side * used) / 2));
  return { width: even(sourceWidth), height: even(sourceHeight) };
}
