import { availableParallelism } from 'node:os';
import { Option, type Command } from 'commander';
import { FILE_CODECS, type FileCodec } from '../codec/containers.ts';
import { configSchema, type Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { upscaleIsolated } from './isolated-upscale.ts';
import { createProgress } from './progress.ts';

interface Flags {
  readonly model: string;
  readonly scale: string;
  readonly filter: string;
  readonly device: string;
  readonly threads: string;
  readonly valueRange?: string;
  readonly crf: string;
  readonly preset: string;
  readonly codec?: FileCodec;
  readonly audio: boolean;
  readonly overwrite?: boolean;
  readonly keepInterlaced?: boolean;
}

const number = (name: string, text: string, low: number, high: number): number => {
  const value = Number(text);
  if (text.trim() !== '' && value >= low && value <= high) return value;
  throw new AppError('config.invalid', `--${name} is "${text}"; it must be a number from ${low} to ${high}.`, {
    remedy: 'Correct the flag; --help lists all of them.',
  });
};

function modelConfig(flags: Flags): Config['model'] {
  const { model, scale, filter, device, threads, valueRange } = flags;
  const parsed = configSchema.shape.model.safeParse({
    name: model,
    scale: number('scale', scale, 1, 8),
    filter,
    device,
    threads: number('threads', threads, 1, 256),
    ...(valueRange === undefined ? {} : { valueRange: valueRange.split(',').map(Number) }),
  });
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `--${issue.path.join('.')}: ${issue.message}`);
  throw new AppError('config.invalid', problems.join('; '), { remedy: 'Correct the flag; --help lists all of them.' });
}

/** Registers `upscale` with the command line. */
export function registerUpscale(program: Command): void {
  program
    .command('upscale')
    .description('upscale a video file; every frame, its time and the audio are kept')
    .argument('<input>', 'a video file, or an http(s) address of one')
    .argument('<output>', 'result, H264 in .mp4, .mov or .mkv')
    .option('-m, --model <name>', 'resize, a model name, a folder with manifest.json, or an .onnx file', 'auto')
    .option('-s, --scale <factor>', 'output size / input size, for models that do not fix it', '4')
    .option('--filter <filter>', 'of resize: lanczos or bicubic', 'lanczos')
    .option('--device <device>', 'auto, cpu, gpu, cuda or reference', 'auto')
    .option('--threads <count>', 'of an ONNX model', String(availableParallelism()))
    .option('--value-range <black,white>', 'of an ONNX model without a manifest (default: 0,1)')
    .option('--crf <quality>', 'x264 quality: 0 lossless, 18 close to the result, 28 small', '18')
    .option('--preset <preset>', 'x264 preset, ultrafast to veryslow', 'fast')
    .addOption(new Option('--codec <codec>', 'of the result').choices(FILE_CODECS))
    .option('--no-audio', 'leave the sound out')
    .option('--keep-interlaced', 'of resize: scale the fields of interlaced video apart instead of deinterlacing it')
    .option('--overwrite', 'replace an existing output file')
    .action(async (input: string, output: string, flags: Flags, command: Command) => {
      const result = await upscaleIsolated(input, output, {
        model: modelConfig(flags),
        crf: number('crf', flags.crf, 0, 51),
        preset: flags.preset,
        codec: flags.codec,
        sound: flags.audio,
        scaleAsked: command.getOptionValueSource('scale') === 'cli',
        overwrite: flags.overwrite ?? false,
        keepInterlaced: flags.keepInterlaced ?? false,
        progress: (total) => createProgress({ total, unit: 'frames' }),
      });
      const { frames, width, height, label, seconds, damagedPackets, notices } = result;
      const rate = (frames / seconds).toFixed(1);
      process.stdout.write(`${output}: ${frames} frames of ${width}x${height} by ${label}, ${rate} fps\n`);
      for (const notice of notices) process.stderr.write(`${notice}\n`);
      if (damagedPackets > 0) process.stderr.write(`${damagedPackets} damaged packets of ${input} were skipped.\n`);
    });
}
