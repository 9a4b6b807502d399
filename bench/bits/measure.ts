/** Every cell of the benchmark: a clip, a codec, a size, a rate; each stream is encoded once and upscaled in every way that is asked for. */
import { join } from 'node:path';
import { loadProductModel, type ProductModel } from '../quality/product-model.ts';
import { CLIPS, makeClip, type BitsClip } from './clips.ts';
import { SIZES_OF, type Options, type UpscalerName } from './options.ts';
import type { BitsRow, RowFile } from './rows.ts';
import { scoreSent, Truth } from './score.ts';
import { send, type Sending } from './send.ts';

type Say = (line: string) => void;

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

function* sendings({ codecs, sizes, framesPerSecond, ratesOf }: Options, lines: number): Generator<Sending> {
  for (const fps of framesPerSecond)
    for (const shortSide of sizes)
      for (const kbps of ratesOf(shortSide))
        for (const codec of codecs)
          if (shortSide <= lines) yield { codec, shortSide, framesPerSecond: fps, bitrateBps: kbps * 1000 };
}

/** Adds to the file what is not in it yet. @param models by name; loaded when first needed */
export async function measure(options: Options, file: RowFile, say: Say): Promise<void> {
  const models = new Map<UpscalerName, ProductModel>();
  const modelOf = async (name: UpscalerName): Promise<ProductModel | undefined> => {
    if (name === 'resize') return undefined;
    const model = models.get(name) ?? (await loadProductModel(join(options.models, name), options.threads));
    models.set(name, model);
    return model;
  };
  try {
    for (const name of options.clips) {
      const goals = options.goals.filter((goal) => goal <= (CLIPS[name]?.largestGoal ?? 0));
      const largest = Math.max(0, ...goals);
      const wanted = [...sendings(options, largest)].map((sending) => ({
        sending,
        upscalers: options.upscalers.filter(
          (upscaler) =>
            SIZES_OF[upscaler].includes(sending.shortSide) &&
            goals.some((goal) => !file.has(cellOf(name, sending, upscaler, goal))),
        ),
      }));
      const missing = wanted.filter(({ upscalers }) => upscalers.length > 0);
      if (missing.length === 0) continue;
      say(`${name}: ${missing.length} ${missing.length === 1 ? 'stream' : 'streams'}`);
      const clip = await makeClip(name, options.data, largest, options.frames);
      const truths = goals.map((goal) => new Truth(clip.truth, goal));
      for (const { sending, upscalers } of missing) {
        for (const row of await measureOne(clip, sending, upscalers, truths, options, modelOf)) {
          file.add(row);
          say(line(row));
        }
      }
      for (const truth of truths) truth.close();
    }
  } finally {
    for (const model of models.values()) await model.close();
  }
}

const cellOf = (clip: string, sending: Sending, upscaler: UpscalerName, goal: number) => {
  const { bitrateBps, ...rest } = sending;
  return { clip, ...rest, targetKbps: bitrateBps / 1000, upscaler, goal };
};

async function measureOne(
  clip: BitsClip,
  sending: Sending,
  upscalers: readonly UpscalerName[],
  truths: readonly Truth[],
  { window }: Options,
  modelOf: (name: UpscalerName) => Promise<ProductModel | undefined>,
): Promise<BitsRow[]> {
  const sent = send(clip, sending, window.bitsFrom);
  const rows: BitsRow[] = [];
  for (const upscaler of upscalers) {
    const scores = await scoreSent(sent, await modelOf(upscaler), truths, window);
    for (const [index, { psnrDb, ssim, perceptual }] of scores.entries())
      rows.push({
        ...cellOf(clip.name, sending, upscaler, truths[index]?.height ?? 0),
        content: clip.content,
        kbps: rounded(sent.kbps, 1),
        shownFps: rounded(sent.shownFps, 1),
        psnrDb: rounded(psnrDb, 2),
        ssim: rounded(ssim, 4),
        perceptual: rounded(perceptual, 4),
      });
  }
  return rows;
}

const line = (row: BitsRow): string =>
  `${row.clip} ${row.codec} ${row.shortSide}p ${row.targetKbps} -> ${row.kbps} kbit/s, ${row.shownFps} fps, ` +
  `${row.upscaler} at ${row.goal}: ${row.psnrDb} dB, SSIM ${row.ssim}, MS-GMSD ${row.perceptual}`;
