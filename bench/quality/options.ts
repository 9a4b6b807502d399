/** The command line of `npm run bench:quality`. */
import { UsageError } from '../command.ts';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { missingIn, PARTS, type ClipSettings } from './clips.ts';
import { missingModels, PUBLIC_NAMES, RESIZE_NAMES } from './methods.ts';

export const USAGE = `npm run bench:quality -- --data DIR [options]

  --data DIR        folder with test/, webcam/, train/ and models/ (bench/quality/README.md)
  --parts A,B       of ${[...Object.keys(PARTS), 'time'].join(', ')}; default: all
  --methods A,B     of bicubic, Lanczos, the models in --models, ${PUBLIC_NAMES.join(', ')}; default: all
  --quick           few clips and frames: shows that all runs, its numbers are not the benchmark's
  --models DIR      the shipped models (default: models)
  --threads N       of onnxruntime (default: 2)
  --allow-missing   run what can be run; what is missing is listed in the result
  --require         exit with 1 when a requirement was measured and is not met
  --out DIR         for quality-<date>.json and .md (default: bench/results)
  --name NAME       quality-NAME.json instead of the date
  --crops DIR       also write crops side by side of the astronaut clip
  --crops-of CLIP   another clip's crops: to look at, never to publish (people, and licences without the right to)`;

export interface Options {
  data: string;
  parts: string[];
  time: boolean;
  methods: string[];
  shipped: string[];
  models: string;
  threads: number;
  settings: ClipSettings;
  rounds: number;
  require: boolean;
  out: string;
  name: string | undefined;
  crops: string | undefined;
  cropsOf: string;
  /** Lines for the report: what is left out, and why. */
  notRun: string[];
}

function chosen(given: string | undefined, all: readonly string[], option: string): string[] {
  const names = given?.split(',').filter(Boolean) ?? [...all];
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length) throw new UsageError(`${option}: there is no ${unknown.join(', ')}; there are ${all.join(', ')}`);
  if (!names.length) throw new UsageError(`${option} names nothing; there are ${all.join(', ')}`);
  return names;
}

function positive(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`${option} must be a whole number from 1, not ${text}`);
  return value;
}

const REQUIRED_MODELS = ['nano', 'mini', 'nano-x2'];

/** Our models are the folders of --models with a manifest; nano first, then by name. */
function shippedModels(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => existsSync(join(folder, name, 'manifest.json')));
  const rank = (name: string): number => [...REQUIRED_MODELS, name].indexOf(name);
  return names.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

/** @throws UsageError for anything that would make the run another one than was asked for */
export function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      data: { type: 'string' },
      parts: { type: 'string' },
      methods: { type: 'string' },
      quick: { type: 'boolean', default: false },
      models: { type: 'string', default: 'models' },
      threads: { type: 'string', default: '2' },
      'allow-missing': { type: 'boolean', default: false },
      require: { type: 'boolean', default: false },
      out: { type: 'string', default: 'bench/results' },
      name: { type: 'string' },
      crops: { type: 'string' },
      'crops-of': { type: 'string', default: 'astronaut' },
      warm: { type: 'string' },
      frames: { type: 'string' },
    },
  });
  if (values.help) throw new UsageError('Quality of the shipped models beside resizes and small public models.');
  const { data = '', models, quick } = values;
  const parts = chosen(values.parts, [...Object.keys(PARTS), 'time'], '--parts');
  const shipped = shippedModels(models);
  const methods = chosen(values.methods, [...RESIZE_NAMES, ...shipped, ...PUBLIC_NAMES], '--methods');
  const missing = [
    ...(values.methods
      ? []
      : REQUIRED_MODELS.filter((name) => !shipped.includes(name)).map((name) => join(models, name))),
    ...missingData(data, parts, methods),
  ];
  const notRun = missing.map((path) => `missing: ${path}`);
  if (missing.length && !values['allow-missing']) {
    const hint = data
      ? 'add them, choose other --parts and --methods, or pass --allow-missing'
      : 'pass --data DIR, or what needs none: --parts astronaut,time --methods bicubic,Lanczos,nano,mini,nano-x2';
    throw new UsageError(
      `missing${data ? ' in --data' : ''}:\n${missing.map((path) => `  ${path}`).join('\n')}\n${hint}`,
    );
  }
  const there = (part: string): boolean => missingIn(data, PARTS[part]?.needs ?? []).length === 0;
  return {
    data,
    parts: parts.filter((part) => part !== 'time' && there(part)),
    time: parts.includes('time'),
    methods: methods.filter((name) => missingModels(data, [name]).length === 0),
    shipped,
    models,
    threads: positive(values.threads, '--threads'),
    settings: {
      data,
      quick,
      warm: positive(values.warm ?? (quick ? '4' : '24'), '--warm'),
      scored: positive(values.frames ?? (quick ? '3' : '12'), '--frames'),
    },
    rounds: quick ? 2 : 12,
    require: values.require,
    out: values.out,
    name: values.name,
    crops: values.crops,
    cropsOf: values['crops-of'],
    notRun,
  };
}

function missingData(data: string, parts: readonly string[], methods: readonly string[]): string[] {
  const needs = parts.flatMap((part) => PARTS[part]?.needs ?? []);
  return [...new Set([...missingIn(data, needs), ...missingModels(data, methods)])];
}
