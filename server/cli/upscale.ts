import { statSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Command } from 'commander';
import { STANDARD, inputLabel, outputLabel } from '../codec/standard-streams.ts';
import { AppError } from '../errors.ts';
import { upscaleIsolated } from './isolated-upscale.ts';
import { createProgress } from './progress.ts';
import { isComplete } from './result-pictures.ts';
import { batchItems, upscaleBatch } from './upscale-batch.ts';
import { addUpscaleFlags, upscaleOptions } from './upscale-flags.ts';
import type { UpscaleOptions, UpscaleResult } from './upscale-file.ts';

const EXAMPLES = `
Examples:
  upscale in.mp4 out.mkv --model nano         a film; sound, subtitles and description are kept
  upscale in.png out.png                      a picture
  upscale in.mp4 img%05d.png                  a film to numbered pictures, and the other way round
  upscale folder/ other/                      the pictures of a folder
  upscale in/*.mp4 out/                       several files; one that fails is listed, the others go on
  upscale - out.mp4 < in.mkv                  standard input; upscale in.mp4 - --format mpegts | player -: output
  upscale in.mp4 out.mp4 --resume             goes on where the same command was stopped
  upscale -- -in.mp4 out.mp4                  names that begin with a dash
`;

/** Registers `upscale` with the command line. */
export function registerUpscale(program: Command): void {
  const command = program
    .command('upscale')
    .description('upscale films and pictures; every frame, its time and what lies beside the pictures is kept')
    .argument('<files...>', 'inputs (files, http(s) addresses, img%03d.png, folders of pictures, -), then the result')
    .addHelpText('after', EXAMPLES);
  addUpscaleFlags(command).action((files: string[]) => run(files, command));
}

async function run(files: readonly string[], command: Command): Promise<void> {
  const inputs = files.slice(0, -1);
  const output = files.at(-1);
  const [input] = inputs;
  if (input === undefined || output === undefined) {
    throw new AppError('config.invalid', 'upscale needs an input and a result.', {
      remedy: 'For example: upscale in.mp4 out.mp4; --help shows more.',
    });
  }
  const options = upscaleOptions(command);
  checkStandardStreams(inputs, output, options);
  if (inputs.length === 1 && (!/[/\\]$/.test(output) || isFolder(input))) {
    if (isComplete(input, output, options)) return;
    const progress = (total: number | undefined) => createProgress({ total, unit: 'frames' });
    print(input, output, await upscaleIsolated(input, output, { ...options, progress }));
    return;
  }
  const items = batchItems(inputs, output);
  const failures = await upscaleBatch(items, options, (item, result) => print(item.input, item.output, result));
  if (failures.length === 0) return;
  process.stderr.write(`${failures.length} of ${items.length} failed:\n`);
  for (const { item, error } of failures) process.stderr.write(`  ${item.input}: ${error.message} ${error.remedy}\n`);
  process.exitCode = 1;
}

function print(input: string, output: string, result: UpscaleResult): void {
  const { frames, keptFrames, width, height, label, seconds, damagedPackets, notices, said } = result;
  const rate = ((frames - keptFrames) / seconds).toFixed(1);
  const words = output === STANDARD ? process.stderr : process.stdout;
  words.write(`${outputLabel(output)}: ${frames} frames of ${width}x${height} by ${label}, ${rate} fps\n`);
  for (const notice of notices) if (!said.includes(notice)) process.stderr.write(`${notice}\n`);
  if (damagedPackets > 0)
    process.stderr.write(`${damagedPackets} damaged packets of ${inputLabel(input)} were skipped.\n`);
}

/** @param isTerminal for tests: of a descriptor @throws AppError config.invalid */
export function checkStandardStreams(
  inputs: readonly string[],
  output: string,
  { format }: Pick<UpscaleOptions, 'format'>,
  isTerminal: (descriptor: number) => boolean = isatty,
): void {
  const fail = (message: string, remedy: string): never => {
    throw new AppError('config.invalid', message, { remedy });
  };
  if (inputs.includes(STANDARD)) {
    if (inputs.length > 1) fail('- (standard input) cannot be one of several inputs.', 'Give it alone.');
    if (/[/\\]$/.test(output))
      fail(`The result in ${output} has no name.`, 'Give the name of a file for standard input.');
    if (isTerminal(0)) fail('Standard input is a terminal, not a film.', 'For example: upscale - out.mp4 < in.mkv');
  }
  if (output !== STANDARD && format !== undefined) {
    fail(
      `--format ${format} is for standard output; ${output} has its format by its ending.`,
      'Leave it out, or give - as the result.',
    );
  }
  if (output !== STANDARD) return;
  if (inputs.length > 1) fail(`${inputs.length} inputs cannot become one stream.`, 'Give one input.');
  if (isTerminal(1))
    fail('Standard output is a terminal, which shows no films.', 'For example: upscale in.mp4 - | player -');
}

function isFolder(name: string): boolean {
  return statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
