/** What a viewer sees of what was sent, against the truth at the same times: a frozen picture counts as it looks. */
import { i420Luma, type I420 } from '../quality/colour.ts';
import { perceptualDistance, ssim } from '../quality/metrics.ts';
import type { ProductModel } from '../quality/product-model.ts';
import { mean } from '../quality/score.ts';
import { Resizer, type Sent } from './send.ts';

export interface Scores {
  /** Of luma, mean over frames of dB. */
  psnrDb: number;
  ssim: number;
  /** MS-GMSD. */
  perceptual: number;
}

export interface Window {
  /** Bits count from this frame on: rates are steadier over a longer time than pictures need. */
  bitsFrom: number;
  /** First frame that is scored. */
  from: number;
  /** Recurrent models see this many frames before it. */
  warm: number;
  /** PSNR of every n-th frame; SSIM and MS-GMSD, which take half a second each, of every n-th. */
  psnrEvery: number;
  detailEvery: number;
}

/** The truth at one goal's size; frames are made when they are wanted. */
export class Truth {
  readonly frames: number;
  readonly #frames: readonly I420[];
  readonly #resizer: Resizer;
  readonly #made = new Map<number, I420>();
  readonly height: number;
  readonly width: number;

  constructor(frames: readonly I420[], height: number) {
    const [first] = frames;
    if (first === undefined) throw new Error('a clip without frames');
    this.#frames = frames;
    this.frames = frames.length;
    this.height = height;
    this.width = 2 * Math.round((height * first.width) / first.height / 2);
    this.#resizer = new Resizer(this.width, height);
  }

  at(t: number): I420 {
    const known = this.#made.get(t) ?? this.#resizer.resize(this.#frames[t] as I420);
    this.#made.set(t, known);
    return known;
  }

  close(): void {
    this.#resizer.close();
  }
}

/** PSNR of luma as `psnr` computes it, on bytes: it is taken of thousands of frames. */
export function lumaPsnr(a: I420, b: I420): number {
  const samples = a.width * a.height;
  if (samples !== b.width * b.height) throw new Error(`${a.width}x${a.height} against ${b.width}x${b.height}`);
  let sum = 0;
  for (let i = 0; i < samples; i++) {
    const difference = (a.data[i] as number) - (b.data[i] as number);
    sum += difference * difference;
  }
  return 10 * Math.log10(255 ** 2 / (sum / samples));
}

/**
 * One way of upscaling, scored at every goal. @param model undefined: a plain resize
 * @returns one entry a truth
 */
export async function scoreSent(
  { pictures }: Sent,
  model: ProductModel | undefined,
  truths: readonly Truth[],
  { from, warm, psnrEvery, detailEvery }: Window,
): Promise<Scores[]> {
  model?.reset();
  const collected = truths.map(() => ({ psnr: [] as number[], ssim: [] as number[], perceptual: [] as number[] }));
  const resizers = truths.map(({ width, height }) => new Resizer(width, height));
  const begin = Math.max(0, ...[...pictures.keys()].filter((t) => t <= from - warm));
  let shown: I420 | undefined;
  for (let t = begin; t < (truths[0]?.frames ?? 0); t++) {
    const decoded = pictures.get(t);
    if (decoded !== undefined) shown = model ? await model.upscale(decoded) : decoded;
    if (t < from || shown === undefined || (t - from) % psnrEvery !== 0) continue;
    for (const [index, truth] of truths.entries()) {
      const result = (resizers[index] as Resizer).resize(shown);
      const scores = collected[index] as (typeof collected)[number];
      scores.psnr.push(Math.min(lumaPsnr(result, truth.at(t)), MOST_DB));
      if ((t - from) % detailEvery !== 0) continue;
      const [ours, theirs] = [i420Luma(result), i420Luma(truth.at(t))];
      scores.ssim.push(ssim(ours, theirs));
      scores.perceptual.push(perceptualDistance(ours, theirs));
    }
  }
  for (const resizer of resizers) resizer.close();
  return collected.map((one) => {
    if (one.psnr.length === 0) throw new Error('nothing was shown');
    return { psnrDb: mean(one.psnr), ssim: mean(one.ssim), perceptual: mean(one.perceptual) };
  });
}

/** A picture without any error would be infinitely good; a still page comes near it. */
const MOST_DB = 60;
