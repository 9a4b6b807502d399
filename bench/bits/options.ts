/** The command line of `npm run bench:bits`. */
import { parseArgs } from 'node:util';
import type { SourceCodec } from '../../server/media/types.ts';
import { UsageError } from '../command.ts';
import { CLIPS, missingClip } from './clips.ts';
import { CODECS } from './encoders.ts';
import type { Window } from './score.ts';

export const UPSCALERS = ['resize', 'mini', 'nano', 'nano-x2', 'midi'] as const;
export type UpscalerName = (typeof UPSCALERS)[number];

/** Sizes that an upscaler is asked for: those at which it works on two cores at 30 frames/s. A resize does all. */
export const SIZES_OF: Readonly<Record<UpscalerName, readonly number[]>> = {
  resize: [180, 270, 360, 540, 720, 1080],
  mini: [180, 270],
  nano: [180],
  midi: [180],
  'nano-x2': [360],
};

/** Rates worth trying at a size, kbit/s: from what is too little to what it no longer gains from. */
const RATES_OF: Readonly<Record<number, readonly number[]>> = {
  180: [28, 60, 150],
  270: [40, 90, 250],
  360: [40, 90, 220, 500],
  540: [80, 200, 500, 1200],
  720: [60, 120, 250, 500, 1200],
  1080: [120, 250, 500, 1200, 2500],
};
const QUICK_RATES: typeof RATES_OF = {
  180: [45, 150],
  270: [70, 250],
  360: [70, 250],
  540: [250, 900],
  720: [120, 500],
  1080: [250, 900],
};

export const USAGE = `npm run bench:bits -- [options]

  --data DIR        folder with webcam/ and train/ (bench/bits/README.md); without it only clips that the program makes
  --clips A,B       of ${Object.keys(CLIPS).join(', ')}; default: head,juggle,dark,page, or what needs no --data
  --codecs A,B      of ${CODECS.join(', ')}; default: all
  --sizes A,B       lines sent, of ${Object.keys(RATES_OF).join(', ')}; default: 180,270,360,540,720
  --rates A,B       kbit/s wanted of the encoders, instead of three to five for each size
  --fps A,B         frames/s sent, of 30, 15, 10; default: 30
  --goals A,B       lines of the picture that is compared, of 720, 1080; default: 720
  --upscalers A,B   of ${UPSCALERS.join(', ')}; default: resize,mini,nano,nano-x2
  --quick           one clip that is made here or --clips, two rates a size, shorter: under five minutes; not the benchmark's numbers
  --models DIR      the shipped models (default: models)
  --threads N       of onnxruntime (default: 2)
  --out DIR         for bits-NAME.jsonl, .md and .svg (default: test-output/bits)
  --name NAME       what is measured already under this name is not measured again (default: the date)
  --report-only     measures nothing: tables and plots of what there is
  --table FILE      also writes the page's table, client-demo/assets/send-table.js, from all clips that were measured`;

export interface Options {
  data: string;
  clips: string[];
  codecs: SourceCodec[];
  sizes: number[];
  ratesOf: (size: number) => readonly number[];
  framesPerSecond: number[];
  goals: number[];
  upscalers: UpscalerName[];
  models: string;
  threads: number;
  frames: number;
  window: Window;
  out: string;
  name: string;
  reportOnly: boolean;
  table: string | undefined;
  /** Lines for the report: what is left out, and why. */
  notRun: string[];
}

function chosen<T extends string | number>(
  given: string | undefined,
  all: readonly T[],
  preset: readonly T[],
  option: string,
): T[] {
  const words = given?.split(',').filter(Boolean);
  if (words === undefined) return [...preset];
  const unknown = words.filter((word) => !all.some((one) => String(one) === word));
  if (unknown.length) throw new UsageError(`${option}: there is no ${unknown.join(', ')}; there are ${all.join(', ')}`);
  if (!words.length) throw new UsageError(`${option} names nothing; there are ${all.join(', ')}`);
  return all.filter((one) => words.includes(String(one)));
}

function numbers(given: string, option: string): number[] {
  const values = given.split(',').map(Number);
  const wrong = values.find((value) => !Number.isFinite(value) || value < 1 || value > 100_000);
  if (wrong !== undefined) throw new UsageError(`${option} must be numbers from 1 to 100000, not ${given}`);
  return values;
}

/** @throws UsageError for anything that would make the run another one than was asked for */
export function readOptions(args: string[]): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      ...{ data: text, clips: text, codecs: text, sizes: text, rates: text, fps: text, goals: text, upscalers: text },
      quick: { type: 'boolean', default: false },
      models: { type: 'string', default: 'models' },
      threads: { type: 'string', default: '2' },
      out: { type: 'string', default: 'test-output/bits' },
      name: { type: 'string', default: new Date().toISOString().slice(0, 10) },
      'report-only': { type: 'boolean', default: false },
      table: text,
    },
  });
  if (values.help) throw new UsageError('What super-resolution is worth at which rate, by size, codec and model.');
  const { data = '', quick, rates } = values;
  const preset = data === '' ? ['sway', 'page'] : ['head', 'juggle', 'dark', 'page'];
  const clips = chosen(values.clips, Object.keys(CLIPS), quick ? preset.slice(0, 1) : preset, '--clips');
  const missing = clips.filter((name) => CLIPS[name] !== undefined && missingClip(data, CLIPS[name]));
  if (missing.length && !values['report-only']) {
    const paths = missing.map((name) => `  ${name}: ${CLIPS[name]?.needs ?? ''}`).join('\n');
    throw new UsageError(
      `missing in --data:\n${paths}\nadd them, or choose clips that need none: --clips sway,page,code`,
    );
  }
  const known = rates === undefined ? undefined : numbers(rates, '--rates');
  const [threads = 2] = numbers(values.threads, '--threads');
  return {
    data,
    clips,
    codecs: chosen(values.codecs, CODECS, CODECS, '--codecs'),
    sizes: chosen(values.sizes, Object.keys(RATES_OF).map(Number), [180, 270, 360, 540, 720], '--sizes'),
    ratesOf: (size) => known ?? (quick ? QUICK_RATES : RATES_OF)[size] ?? [],
    framesPerSecond: chosen(values.fps, [30, 15, 10], [30], '--fps'),
    goals: chosen(values.goals, [720, 1080], [720], '--goals'),
    upscalers: chosen(values.upscalers, UPSCALERS, ['resize', 'mini', 'nano', 'nano-x2'], '--upscalers'),
    models: values.models,
    threads,
    // The encoders' rate controls need two seconds; what counts is after them.
    frames: quick ? 90 : 150,
    window: quick
      ? { bitsFrom: 45, from: 75, warm: 8, psnrEvery: 5, detailEvery: 15 }
      : { bitsFrom: 60, from: 120, warm: 10, psnrEvery: 3, detailEvery: 60 },
    out: values.out,
    name: values.name,
    reportOnly: values['report-only'],
    table: values.table,
    notRun: ['FlashVSR: no official weights here; synthetic weights say nothing about quality'],
  };
}
