/** One method over one clip. */
import type { TestClip } from './clips.ts';
import type { Method } from './methods.ts';
import { flicker, inside, perceptualDistance, psnr, ssim } from './metrics.ts';
import type { Plane } from './resize.ts';

/** Means over the scored frames; a border as wide as the scale is left out everywhere. */
export interface Row {
  scale: number;
  set: string;
  clip: string;
  method: string;
  frames: number;
  kbps?: number;
  psnrDb: number;
  ssim: number;
  /** MS-GMSD. */
  perceptual: number;
  /** Grey levels; null for single pictures. */
  flickerLevels: number | null;
  /** U and V together; null where a method makes no chroma. */
  chromaPsnrDb: number | null;
}

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

/** Frame by frame in order; recurrent methods see the warm-up frames, others skip them. */
export async function scoreClip(clip: TestClip, method: Method): Promise<Row> {
  method.reset();
  const { scale } = method;
  const luma = { psnr: [] as number[], ssim: [] as number[], perceptual: [] as number[], flicker: [] as number[] };
  const chroma: number[] = [];
  let before: { ours: Plane; truth: Plane } | undefined;
  for (const [index, frame] of clip.frames.entries()) {
    if (index < clip.warm && !method.recurrent) continue;
    const result = await method.upscale(frame);
    if (index < clip.warm) continue;
    const [ours, truth] = [inside(result.luma, scale), inside(frame.truth, scale)];
    luma.psnr.push(psnr(ours, truth));
    luma.ssim.push(ssim(ours, truth));
    luma.perceptual.push(perceptualDistance(ours, truth));
    if (before) luma.flicker.push(flicker(before.ours, ours, before.truth, truth));
    before = { ours, truth };
    const planes = result.chroma?.();
    if (planes) for (const [c, plane] of planes.entries()) chroma.push(psnr(plane, frame.truthChroma[c] as Plane));
  }
  return {
    scale,
    set: clip.set,
    clip: clip.name,
    method: method.name,
    frames: luma.psnr.length,
    ...(clip.kbps === undefined ? {} : { kbps: round(clip.kbps, 1) }),
    psnrDb: round(mean(luma.psnr), 3),
    ssim: round(mean(luma.ssim), 4),
    perceptual: round(mean(luma.perceptual), 4),
    flickerLevels: luma.flicker.length ? round(mean(luma.flicker), 3) : null,
    chromaPsnrDb: chroma.length ? round(mean(chroma), 2) : null,
  };
}
