import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Option, type Command } from 'commander';
import {
  DEFAULT_STREAM_FORMAT,
  FILE_CODECS,
  STREAM_FORMATS,
  type FileCodec,
  type StreamFormat,
} from '../codec/containers.ts';
import { PRESETS } from '../codec/file-encoder.ts';
import { configSchema, type Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { UpscaleOptions } from './upscale-file.ts';

interface Flags {
  readonly model: string;
  readonly scale: string;
  readonly filter: string;
  readonly device: string;
  readonly decoder: string;
  readonly threads: string;
  readonly valueRange?: string;
  readonly crf: string;
  readonly preset: string;
  readonly codec?: FileCodec;
  readonly format?: StreamFormat;
  readonly audio: boolean;
  readonly rate: string;
  readonly trim?: string;
  readonly keepInterlaced?: boolean;
  readonly overwrite?: boolean;
  readonly resume?: boolean;
}

const AUTO_CODEC = 'h264, above its level 5.2 hevc, in .webm av1';

/** Adds the flags in groups, each with its meaning and default. */
export function addUpscaleFlags(command: Command): Command {
  const presets = `${PRESETS[0]} to ${PRESETS.at(-1)}`;
  return command
    .optionsGroup('Model:')
    .option('-m, --model <name>', 'resize, a model name (`models list`), a folder, or an .onnx file', 'auto')
    .option(
      '-s, --scale <factor>',
      'size of the result / size of the input, 1 to 8; for models that do not fix it',
      '4',
    )
    .addOption(new Option('--filter <filter>', 'of resize').choices(['lanczos', 'bicubic']).default('lanczos'))
    .addOption(
      new Option('--device <device>', 'where the model runs')
        .choices(['auto', 'cpu', 'gpu', 'cuda', 'reference'])
        .default('auto'),
    )
    .addOption(
      new Option('--decoder <decoder>', 'of FlashVSR: wan is slower and closer to the latents (docs/models.md)')
        .choices(['tiny', 'wan'])
        .default('tiny'),
    )
    .option('--threads <count>', 'of an ONNX model on the CPU, 1 to 256', String(availableParallelism()))
    .option('--value-range <black,white>', 'of an ONNX model without a manifest (default: 0,1)')
    .optionsGroup('Input:')
    .option('--trim <start-end>', 'a part only: seconds or [h:]m:s, either may be left out (default: all of it)')
    .option('--rate <fps>', 'frames a second of pictures that become a film, 0.1 to 1000', '25')
    .option('--keep-interlaced', 'of resize: scale the fields of interlaced video apart (default: deinterlace)')
    .optionsGroup('Result:')
    .addOption(new Option('--codec <codec>', `of a film (default: ${AUTO_CODEC})`).choices(FILE_CODECS))
    .addOption(
      new Option('--format <format>', `of standard output, - (default: ${DEFAULT_STREAM_FORMAT})`).choices(
        Object.keys(STREAM_FORMATS),
      ),
    )
    .option('--crf <quality>', '0 lossless, 18 close to the pictures of the model, 51 smallest', '18')
    .addOption(new Option('--preset <preset>', `speed against size, ${presets}`).choices(PRESETS).default('fast'))
    .option('--no-audio', 'leave the sound out (default: keep it)')
    .option('--overwrite', 'replace a result that exists, start again where a run was stopped (default: refuse)')
    .option(
      '--resume',
      'go on where a run was stopped; complete results stay as they are (default: from the beginning)',
    );
}

/** @throws AppError config.invalid with the flag's name */
export function upscaleOptions(command: Command): UpscaleOptions {
  const flags = command.opts<Flags>();
  if (flags.resume === true && flags.overwrite === true)
    throw invalid('--resume goes on with a stopped run and --overwrite starts again: one of the two.');
  return {
    model: modelConfig(flags),
    crf: number('crf', flags.crf, 0, 51),
    preset: flags.preset,
    codec: flags.codec,
    format: flags.format,
    sound: flags.audio,
    rate: number('rate', flags.rate, 0.1, 1000),
    trim: flags.trim === undefined ? undefined : trimOf(flags.trim),
    keepInterlaced: flags.keepInterlaced ?? false,
    overwrite: flags.overwrite ?? false,
    resume: flags.resume ?? false,
    scaleAsked: command.getOptionValueSource('scale') === 'cli',
  };
}

function number(name: string, text: string, low: number, high: number): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= low && value <= high) return value;
  throw invalid(`--${name} is "${text}"; it must be a number from ${low} to ${high}.`);
}

function modelConfig(flags: Flags): Config['model'] {
  const { model, scale, filter, device, decoder, threads, valueRange } = flags;
  const parsed = configSchema.shape.model.safeParse({
    name: model,
    scale: number('scale', scale, 1, 8),
    filter,
    device,
    decoder,
    threads: number('threads', threads, 1, 256),
    ...(valueRange === undefined ? {} : { valueRange: valueRange.split(',').map(Number) }),
  });
  if (parsed.success) return parsed.data;
  throw invalid(parsed.error.issues.map((issue) => `--${issue.path.join('.')}: ${issue.message}`).join('; '));
}

/** `10-20`, `1:02:03.5-`, `-90`: seconds from the beginning. */
export function trimOf(text: string): { readonly startSeconds: number; readonly endSeconds: number } {
  const [from = '', to = '', ...more] = text.split('-').map((part) => part.trim());
  const startSeconds = from === '' ? 0 : secondsOf(from);
  const endSeconds = to === '' ? Infinity : secondsOf(to);
  if (!text.includes('-') || more.length > 0 || !(endSeconds > startSeconds)) {
    throw invalid(`--trim is "${text}"; it must be START-END, as in 10-20, 1:30-2:00 or 90-.`);
  }
  return { startSeconds, endSeconds };
}

function secondsOf(text: string): number {
  if (!/^(\d+:){0,2}\d+(\.\d*)?$/.test(text)) return NaN;
  return text.split(':').reduce((seconds, part) => 60 * seconds + Number(part), 0);
}

/** A file whose name begins with a dash is not taken for a flag: `-x.mp4` is `./-x.mp4`, where such a file exists. */
export function protectNames(argv: readonly string[], command: Command): string[] {
  const known = new Set(command.options.flatMap(({ short, long }) => [short, long]));
  return argv.map((argument) => {
    const isName = /^-./.test(argument) && !known.has(argument.replace(/=.*/s, '')) && existsSync(argument);
    return isName ? `./${argument}` : argument;
  });
}

function invalid(message: string): AppError {
  return new AppError('config.invalid', message, { remedy: 'Correct the flag; --help lists all of them.' });
}
