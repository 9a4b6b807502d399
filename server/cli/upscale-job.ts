import { availableParallelism } from 'node:os';
import { TICKS_PER_PICTURE, VideoReader } from '../codec/video-reader.ts';
import type { FileCodec } from '../codec/containers.ts';
import { VideoWriter } from '../codec/video-writer.ts';
import type { Config } from '../config/config.ts';
import { resolveModel } from '../models/resolve.ts';
import { createUpscaler } from '../upscalers/create-upscaler.ts';
import type { UpscalerSpec } from '../upscalers/spec.ts';
import type { Upscaler, UpscalerStream } from '../upscalers/upscaler.ts';
import { AppError } from '../errors.ts';
import type { Progress } from './progress.ts';
import { ResultFile } from './result-file.ts';
import type { Picture } from '../media/picture.ts';

export interface UpscaleOptions {
  readonly model: Config['model'];
  readonly crf: number;
  readonly preset: string;
  /** Absent: what the result's ending and size ask for. */
  readonly codec?: FileCodec | undefined;
  /** False: the result is silent; absent: true. */
  readonly sound?: boolean | undefined;
  readonly overwrite: boolean;
  /** Interlaced pictures stay interlaced; otherwise they are deinterlaced. */
  readonly keepInterlaced?: boolean;
  /** Absent: no progress. */
  readonly progress?: (total: number | undefined) => Progress;
}

export interface UpscaleResult {
  readonly frames: number;
  readonly damagedPackets: number;
  /** What the user should know about the input: a line each. */
  readonly notices: readonly string[];
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

/** Where a job writes. */
export interface UpscaleTarget {
  /** The result's name as the user gave it: for messages, and for the format that its ending names. */
  readonly name: string;
  /** Exists already; the caller renames or removes it. */
  readonly part: string;
}

/**
 * Upscales a file: every frame, its time and the audio are kept. The result appears under its name only when it is
 * complete.
 * @throws AppError file.unreadable | file.unwritable | model.* | engine.*
 */
export async function upscaleFile(input: string, output: string, options: UpscaleOptions): Promise<UpscaleResult> {
  const file = ResultFile.claim(input, output, options);
  try {
    const result = await upscaleInto(input, { name: output, part: file.part }, options);
    file.publish();
    return result;
  } finally {
    file.discard();
  }
}

/** As upscaleFile(), into a file that the caller owns. */
export async function upscaleInto(
  input: string,
  target: UpscaleTarget,
  options: Omit<UpscaleOptions, 'overwrite'>,
): Promise<UpscaleResult> {
  const startedAt = performance.now();
  const upscaler = await createUpscaler(forFiles(await resolveModel({ model: options.model })));
  try {
    const { maxBitDepth = 8, takesFields = false, label } = upscaler.info;
    const { keepInterlaced = false } = options;
    if (keepInterlaced && !takesFields) throw fieldsNotTaken(label);
    const reader = await VideoReader.open(input, availableParallelism(), { maxBitDepth, keepInterlaced });
    try {
      const job = new UpscaleJob(reader, upscaler, target, options);
      const { frames, width, height, ...written } = await job.run();
      const damagedPackets = reader.damagedPackets + written.damagedPackets;
      const notices = [...reader.notices, ...written.notices];
      const seconds = (performance.now() - startedAt) / 1000;
      return { frames, damagedPackets, notices, width, height, label: upscaler.info.label, seconds };
    } finally {
      await reader.close();
    }
  } finally {
    await upscaler.close();
  }
}

class UpscaleJob {
  readonly #reader: VideoReader;
  readonly #upscaler: Upscaler;
  readonly #target: UpscaleTarget;
  readonly #options: Omit<UpscaleOptions, 'overwrite'>;
  readonly #timings = new Map<number, Timing>();
  /** Results not yet written, in order. */
  readonly #results: Picture[] = [];
  #writer: VideoWriter | undefined;
  #stream: UpscalerStream | undefined;
  #progress: Progress | undefined;
  #failure: AppError | undefined;
  #written = 0;
  #wake: (() => void) | undefined;

  constructor(
    reader: VideoReader,
    upscaler: Upscaler,
    target: UpscaleTarget,
    options: Omit<UpscaleOptions, 'overwrite'>,
  ) {
    this.#reader = reader;
    this.#upscaler = upscaler;
    this.#target = target;
    this.#options = options;
  }

  async run(): Promise<Omit<UpscaleResult, 'label' | 'seconds'>> {
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
      const { width = 0, height = 0, notices = [], damagedPackets = 0 } = this.#writer ?? {};
      return { frames: this.#written, width, height, notices, damagedPackets };
    } finally {
      await this.#stream.close();
      await this.#writer?.close();
    }
  }

  async #readAll(stream: UpscalerStream): Promise<number> {
    let pushed = 0;
    for await (const item of this.#reader.read()) {
      if (item.type === 'packet') {
        const writer = await this.#writerFor();
        await writer.copy(item.packet, item.stream);
        continue;
      }
      const { picture, pts, duration } = item;
      this.#timings.set(picture.mediaTime, { pts, duration });
      await this.#writerFor();
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

  /** The reader knows how the pictures look with its first item, also where that is sound. */
  async #writerFor(): Promise<VideoWriter> {
    if (this.#writer !== undefined) return this.#writer;
    const stream = this.#stream;
    if (stream === undefined) throw new AppError('internal', 'The writer was opened before the stream.');
    this.#writer = await VideoWriter.open(this.#target, this.#reader, {
      width: stream.outputWidth,
      height: stream.outputHeight,
      crf: this.#options.crf,
      preset: this.#options.preset,
      threads: availableParallelism(),
      codec: this.#options.codec,
      sound: this.#options.sound ?? true,
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
      const writer = await this.#writerFor();
      await writer.write(picture, timing.pts, timing.duration);
      picture.release?.();
      this.#written += 1;
      this.#progress?.update(this.#written);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}

function fieldsNotTaken(label: string): AppError {
  return new AppError('config.invalid', `${label} works on whole pictures; --keep-interlaced is for --model resize.`, {
    remedy: 'Leave the flag out (interlaced video is deinterlaced then), or use --model resize.',
  });
}
