import { existsSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { TICKS_PER_PICTURE, VideoReader } from '../codec/video-reader.ts';
import { VideoWriter } from '../codec/video-writer.ts';
import { configSchema, type Config } from '../config/config.ts';
import { resolveModel } from '../models/resolve.ts';
import { createUpscaler } from '../upscalers/create-upscaler.ts';
import type { UpscalerSpec } from '../upscalers/spec.ts';
import type { Upscaler, UpscalerStream } from '../upscalers/upscaler.ts';
import { AppError } from '../errors.ts';
import { createProgress, type Progress } from './progress.ts';
import type { Picture } from '../media/picture.ts';

export interface UpscaleOptions {
  readonly model: Config['model'];
  readonly crf: number;
  readonly preset: string;
  readonly overwrite: boolean;
  /** Absent: no progress. */
  readonly progress?: (total: number | undefined) => Progress;
}

export interface UpscaleResult {
  readonly frames: number;
  readonly damagedPackets: number;
  readonly width: number;
  readonly height: number;
  readonly label: string;
  readonly seconds: number;
}

interface Timing {
  readonly pts: bigint;
  readonly duration: bigint;
}

/** A file waits for every frame and starts as the official code does, so that the same file gives the same bytes. */
function forFiles(spec: UpscalerSpec): UpscalerSpec {
  return spec.kind === 'flashvsr' ? { ...spec, coldStartFrames: 25, gatherDeadlineMs: 0 } : spec;
}

/**
 * Upscales a file: every frame, its time and the audio are kept. The result appears under its name only when it is
 * complete.
 * @throws AppError file.unreadable | model.* | engine.*
 */
export async function upscaleFile(input: string, output: string, options: UpscaleOptions): Promise<UpscaleResult> {
  const startedAt = Date.now();
  checkPaths(input, output, options.overwrite);
  const upscaler = await createUpscaler(forFiles(await resolveModel({ model: options.model })));
  const part = partName(output);
  try {
    const reader = await VideoReader.open(input, availableParallelism());
    try {
      const job = new UpscaleJob(reader, upscaler, part, options);
      const { frames, width, height } = await job.run();
      renameSync(part, output);
      const seconds = (Date.now() - startedAt) / 1000;
      return { frames, damagedPackets: reader.damagedPackets, width, height, label: upscaler.info.label, seconds };
    } finally {
      await reader.close();
    }
  } finally {
    rmSync(part, { force: true });
    await upscaler.close();
  }
}

class UpscaleJob {
  readonly #reader: VideoReader;
  readonly #upscaler: Upscaler;
  readonly #file: string;
  readonly #options: UpscaleOptions;
  readonly #timings = new Map<number, Timing>();
  /** Results not yet written, in order. */
  readonly #results: Picture[] = [];
  #writer: VideoWriter | undefined;
  #stream: UpscalerStream | undefined;
  #progress: Progress | undefined;
  #failure: AppError | undefined;
  #written = 0;
  #wake: (() => void) | undefined;

  constructor(reader: VideoReader, upscaler: Upscaler, file: string, options: UpscaleOptions) {
    this.#reader = reader;
    this.#upscaler = upscaler;
    this.#file = file;
    this.#options = options;
  }

  async run(): Promise<{ frames: number; width: number; height: number }> {
    const { info } = this.#reader;
    this.#stream = await this.#upscaler.openStream(
      { sourceWidth: info.width, sourceHeight: info.height },
      {
        onPicture: (picture) => {
          this.#results.push(picture);
          this.#wake?.();
        },
        onError: (error) => {
          this.#failure ??= error;
          this.#wake?.();
        },
      },
    );
    this.#progress = this.#options.progress?.(info.estimatedFrames);
    try {
      const pushed = await this.#readAll(this.#stream);
      const flushed = this.#stream.flush();
      await this.#writeUntil(flushed);
      if (this.#written !== pushed) {
        throw new AppError('model.run', `The model returned ${this.#written} of ${pushed} frames.`);
      }
      await this.#writer?.finish();
      this.#progress?.finish(this.#written);
      return { frames: this.#written, width: this.#writer?.width ?? 0, height: this.#writer?.height ?? 0 };
    } finally {
      await this.#stream.close();
      await this.#writer?.close();
    }
  }

  async #readAll(stream: UpscalerStream): Promise<number> {
    let pushed = 0;
    for await (const item of this.#reader.read()) {
      if (item.type === 'packet') {
        const writer = await this.#writerFor(undefined);
        await writer.copy(item.packet, item.stream);
        continue;
      }
      const { picture, pts, duration } = item;
      this.#timings.set(picture.mediaTime, { pts, duration });
      await this.#writerFor(picture);
      while (!stream.ready && this.#failure === undefined) {
        await this.#waitForResult();
        // The next picture goes in first; the result is written while the model works on it.
        if (!stream.ready) await this.#writeResults();
      }
      if (stream.push(picture) !== 'accepted')
        this.#failure ??= new AppError('model.run', 'The model refused a frame.');
      pushed += 1;
      await this.#writeResults();
    }
    return pushed;
  }

  /** The colour is known with the first picture; audio before it is written with the file's usual one. */
  async #writerFor(picture: Picture | undefined): Promise<VideoWriter> {
    if (this.#writer !== undefined) return this.#writer;
    const { info } = this.#reader;
    const stream = this.#stream;
    if (stream === undefined) throw new AppError('internal', 'The writer was opened before the stream.');
    this.#writer = await VideoWriter.open(this.#file, this.#reader, {
      width: stream.outputWidth,
      height: stream.outputHeight,
      colour: picture?.colour ?? { matrix: info.height >= 720 ? 'bt709' : 'bt601', range: 'limited' },
      crf: this.#options.crf,
      preset: this.#options.preset,
      threads: availableParallelism(),
    });
    return this.#writer;
  }

  async #writeUntil(flushed: Promise<void>): Promise<void> {
    let ended = false;
    const end = flushed.then(
      () => {
        ended = true;
        this.#wake?.();
      },
      (error: unknown) => {
        this.#failure ??= AppError.from(error, 'model.run');
        this.#wake?.();
      },
    );
    while (!ended && this.#failure === undefined) {
      await this.#writeResults();
      if (!ended) await this.#waitForResult();
    }
    await this.#writeResults();
    await end;
  }

  async #waitForResult(): Promise<void> {
    if (this.#results.length === 0 && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  async #writeResults(): Promise<void> {
    for (let picture = this.#results.shift(); picture !== undefined; picture = this.#results.shift()) {
      const timing = this.#timings.get(picture.mediaTime);
      this.#timings.delete(picture.mediaTime);
      if (timing === undefined)
        throw new AppError('model.run', `The model returned frame ${picture.mediaTime / TICKS_PER_PICTURE} twice.`);
      const writer = await this.#writerFor(picture);
      await writer.write(picture, timing.pts, timing.duration);
      picture.release?.();
      this.#written += 1;
      this.#progress?.update(this.#written);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}

function checkPaths(input: string, output: string, overwrite: boolean): void {
  const isUrl = /^[a-z][a-z0-9+.-]+:\/\//i.test(input);
  if (!isUrl && !existsSync(input)) {
    throw new AppError('file.unreadable', `${input} does not exist.`, { context: { file: input } });
  }
  if (path.resolve(input) === path.resolve(output)) {
    throw new AppError('file.unreadable', 'Input and output are the same file.', {
      remedy: 'Give the result another name.',
    });
  }
  if (existsSync(output) && !overwrite) {
    throw new AppError('file.unreadable', `${output} exists already.`, {
      context: { file: output },
      remedy: 'Give another name, or --overwrite.',
    });
  }
  if (!existsSync(path.dirname(path.resolve(output)))) {
    throw new AppError('file.unreadable', `The folder of ${output} does not exist.`, { remedy: 'Create it first.' });
  }
}

/** in the same folder, so that renaming is one step; with the ending that names the format. */
function partName(output: string): string {
  const { dir, name, ext } = path.parse(output);
  return path.join(dir, `${name}.part${ext}`);
}

interface Flags {
  readonly model: string;
  readonly scale: string;
  readonly filter: string;
  readonly device: string;
  readonly threads: string;
  readonly valueRange?: string;
  readonly crf: string;
  readonly preset: string;
  readonly overwrite?: boolean;
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
    .argument('<input>', 'any video file FFmpeg reads')
    .argument('<output>', 'result, H264 in .mp4, .mov or .mkv')
    .option('-m, --model <name>', 'resize, a model name, a folder with manifest.json, or an .onnx file', 'auto')
    .option('-s, --scale <factor>', 'output size / input size, for models that do not fix it', '4')
    .option('--filter <filter>', 'of resize: lanczos or bicubic', 'lanczos')
    .option('--device <device>', 'auto, cpu, cuda or reference', 'auto')
    .option('--threads <count>', 'of an ONNX model', String(availableParallelism()))
    .option('--value-range <black,white>', 'of an ONNX model without a manifest (default: 0,1)')
    .option('--crf <quality>', 'x264 quality: 0 lossless, 18 close to the result, 28 small', '18')
    .option('--preset <preset>', 'x264 preset, ultrafast to veryslow', 'fast')
    .option('--overwrite', 'replace an existing output file')
    .action(async (input: string, output: string, flags: Flags) => {
      const result = await upscaleFile(input, output, {
        model: modelConfig(flags),
        crf: number('crf', flags.crf, 0, 51),
        preset: flags.preset,
        overwrite: flags.overwrite ?? false,
        progress: (total) => createProgress(total),
      });
      const { frames, width, height, label, seconds, damagedPackets } = result;
      const rate = (frames / seconds).toFixed(1);
      process.stdout.write(`${output}: ${frames} frames of ${width}x${height} by ${label}, ${rate} fps\n`);
      if (damagedPackets > 0) process.stderr.write(`${damagedPackets} damaged packets of ${input} were skipped.\n`);
    });
}
