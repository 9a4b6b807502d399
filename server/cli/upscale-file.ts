import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import type { FileCodec, StreamFormat } from '../codec/containers.ts';
import type { FilmWriter } from '../codec/film-writer.ts';
import { PictureSequence, picturesBySize } from '../codec/picture-sequence.ts';
import { PictureWriter } from '../codec/picture-writer.ts';
import { TrimmedSource } from '../codec/trimmed-source.ts';
import { VideoReader, type FilmSource } from '../codec/video-reader.ts';
import { VideoWriter } from '../codec/video-writer.ts';
import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { resolveModel } from '../models/resolve.ts';
import { createUpscaler } from '../upscalers/create-upscaler.ts';
import type { UpscalerSpec } from '../upscalers/spec.ts';
import type { Upscaler, UpscalerStream } from '../upscalers/upscaler.ts';
import { inputOf, onePictureOnly, resultOf, type Input, type Result } from './file-names.ts';
import { openKept, type KeptWork } from './kept-work.ts';
import { UNFINISHED, withKept, type KeepPlace } from './kept-folder.ts';
import type { Progress } from './progress.ts';
import { claimResult } from './result-pictures.ts';
import { UpscaleJob } from './upscale-job.ts';

export interface UpscaleOptions {
  readonly model: Config['model'];
  readonly crf: number;
  readonly preset: string;
  /** Absent: what the result's ending and size ask for. */
  readonly codec?: FileCodec | undefined;
  /** Of a result that is standard output; absent: matroska. */
  readonly format?: StreamFormat | undefined;
  /** False: the result is silent; absent: true. */
  readonly sound?: boolean | undefined;
  /** Frames a second of pictures that become a film; absent: 25. */
  readonly rate?: number | undefined;
  /** A part of the input; absent: all of it. */
  readonly trim?: { readonly startSeconds: number; readonly endSeconds: number | null } | undefined;
  /** The user named the scale, so that a result of another one needs a word. */
  readonly scaleAsked?: boolean | undefined;
  readonly overwrite: boolean;
  /** Frames that a stopped run has finished are used, and this run's are kept whatever it is stopped by; absent: false. */
  readonly resume?: boolean | undefined;
  /** Interlaced pictures stay interlaced; otherwise they are deinterlaced. */
  readonly keepInterlaced?: boolean;
  /** Absent: no progress. */
  readonly progress?: (total: number | undefined) => Progress;
}

export interface UpscaleResult {
  readonly frames: number;
  /** Of them, those that were there already. */
  readonly keptFrames: number;
  readonly damagedPackets: number;
  /** What the user should know about the input: a line each. */
  readonly notices: readonly string[];
  /** Of them, those that a progress has shown while the job ran. */
  readonly said: readonly string[];
  readonly width: number;
  readonly height: number;
  readonly label: string;
  readonly seconds: number;
}

/** Where a job writes. */
export interface UpscaleTarget {
  /** The result's name as the user gave it: for messages, and for the format that its ending names. */
  readonly name: string;
  /** A file, for pictures a folder, that exists already; the caller renames or removes it. `-`: standard output. */
  readonly part: string;
  /** A folder for frames that are finished before the result is: made if need be. Absent: none are kept. */
  readonly keep?: KeepPlace | undefined;
}

/**
 * Upscales a file, or pictures: every frame, its time and the tracks beside it are kept. The result appears under its name only when
 * it is complete.
 * @throws AppError file.unreadable | file.unwritable | model.* | engine.*
 */
export async function upscaleFile(input: string, output: string, options: UpscaleOptions): Promise<UpscaleResult> {
  const file = claimResult(input, output, options);
  try {
    const result = await upscaleInto(input, { name: output, part: file.part, keep: file.keep }, options);
    file.publish();
    return { ...result, notices: [...file.notices, ...result.notices] };
  } catch (error) {
    file.discard();
    throw withKept(error, file.keptFrames);
  } finally {
    file.discard();
  }
}

/** As upscaleFile(), into a file that the caller owns. */
export async function upscaleInto(
  inputName: string,
  target: UpscaleTarget,
  options: Omit<UpscaleOptions, 'overwrite'>,
): Promise<UpscaleResult> {
  const startedAt = performance.now();
  const input = inputOf(inputName);
  const result = resultOf(target.name, input);
  const spec = forFiles(await resolveModel({ model: options.model }));
  const kept = await openKept(result.kind === 'picture' ? undefined : target.keep, {
    input,
    output: target.name,
    spec,
    options,
  });
  const upscaler = await createUpscaler(spec);
  let sources: readonly FilmSource[] = [];
  try {
    if (upscaler.info.givesMemory === true) await kept?.segments.needMemory();
    sources = trimmed(await openSources(input, result, upscaler, options), options);
    const run = new Run(sources, upscaler, result, target, options, kept);
    const written = await run.run();
    return { ...written, label: upscaler.info.label, seconds: (performance.now() - startedAt) / 1000 };
  } finally {
    for (const source of sources) await source.close();
    await upscaler.close();
    await kept?.segments.close();
  }
}

/** A file waits for every frame and starts as the official code does, so that the same file gives the same bytes. */
function forFiles(spec: UpscalerSpec): UpscalerSpec {
  return spec.kind === 'flashvsr' ? { ...spec, coldStartFrames: 25, gatherDeadlineMs: 0 } : spec;
}

/** One film; of pictures, one for each run of the same size. */
async function openSources(
  input: Input,
  result: Result,
  { info: { maxBitDepth = 8, takesFields = false, label } }: Upscaler,
  { rate: framesPerSecond = 25, keepInterlaced = false }: Pick<UpscaleOptions, 'rate' | 'keepInterlaced'>,
): Promise<FilmSource[]> {
  if (keepInterlaced && !takesFields) throw fieldsNotTaken(label);
  if (input.kind === 'pictures') {
    const groups = await picturesBySize(input.files);
    const [first, other] = groups;
    if (other !== undefined && result.kind === 'film') {
      throw new AppError('file.unreadable', `${other.files[0]} is ${other.size}, ${first?.files[0]} ${first?.size}.`, {
        context: { input: input.label },
        remedy:
          'Pictures of a film have one size; for pictures of several, give a folder or numbered pictures as the result.',
      });
    }
    const sources: FilmSource[] = [];
    for (const { files } of groups)
      sources.push(await PictureSequence.open(input.label, files, framesPerSecond, { maxBitDepth }));
    return sources;
  }
  const reader = await VideoReader.open(input.file, availableParallelism(), { maxBitDepth, keepInterlaced });
  // A GIF does not say how many pictures it has: the second one is refused when it comes.
  const one = reader.isStill || (reader.info.estimatedFrames ?? 1) === 1;
  if (result.kind !== 'picture' || one) return [reader];
  await reader.close();
  throw onePictureOnly(result.file, input.file);
}

function trimmed(sources: readonly FilmSource[], { trim }: Pick<UpscaleOptions, 'trim'>): readonly FilmSource[] {
  // Infinity does not pass to another process as JSON.
  if (trim === undefined) return sources;
  return sources.map((source) => new TrimmedSource(source, trim.startSeconds, trim.endSeconds ?? Infinity));
}

class Run {
  readonly #sources: readonly FilmSource[];
  readonly #upscaler: Upscaler;
  readonly #result: Result;
  readonly #target: UpscaleTarget;
  readonly #options: Omit<UpscaleOptions, 'overwrite'>;
  readonly #kept: KeptWork | undefined;
  #writer: FilmWriter | undefined;

  constructor(
    sources: readonly FilmSource[],
    upscaler: Upscaler,
    result: Result,
    target: UpscaleTarget,
    options: Omit<UpscaleOptions, 'overwrite'>,
    kept: KeptWork | undefined,
  ) {
    this.#kept = kept;
    this.#sources = sources;
    this.#upscaler = upscaler;
    this.#result = result;
    this.#target = target;
    this.#options = options;
  }

  async run(): Promise<Omit<UpscaleResult, 'label' | 'seconds'>> {
    const estimates = this.#sources.map(({ info }) => info.estimatedFrames);
    const total = estimates.includes(undefined) ? undefined : estimates.reduce<number>((sum, n) => sum + (n ?? 0), 0);
    const progress = this.#options.progress?.(total);
    const said: string[] = [];
    const say = (words: string): void => {
      if (progress === undefined || said.includes(words)) return;
      progress.say(words);
      said.push(words);
    };
    let frames = 0;
    let keptFrames = 0;
    const events = {
      onWritten: () => {
        frames += 1;
        progress?.update(frames);
      },
      onKept: () => {
        frames += 1;
        keptFrames += 1;
        progress?.kept(frames, keptFrames);
      },
    };
    try {
      for (const source of this.#sources) {
        const openWriter = async (stream: UpscalerStream): Promise<FilmWriter> => {
          this.#writer ??= await this.#openWriter(source, stream);
          // What is lost or converted is known now, with the first picture: hours before the end of a long film.
          for (const words of [...source.notices, ...this.#writer.notices]) say(words);
          return this.#writer;
        };
        await new UpscaleJob(source, this.#upscaler, openWriter, events, {
          firstIndex: frames,
          isKept: this.#isKept(),
          memory: this.#kept?.segments.memory,
        }).run();
      }
      await this.#writer?.finish();
    } finally {
      await this.#writer?.close();
    }
    progress?.finish(frames);
    const { width = 0, height = 0, notices = [], damagedPackets = 0 } = this.#writer ?? {};
    const damaged = this.#sources.reduce((sum, source) => sum + source.damagedPackets, damagedPackets);
    const words = [...this.#sources.flatMap((source) => source.notices), ...notices, ...this.#scaleNotices(width)];
    if (keptFrames > 0) words.push(`${keptFrames} of the ${frames} frames were there already.`);
    return { frames, keptFrames, width, height, notices: words, said, damagedPackets: damaged };
  }

  #isKept(): (index: number) => boolean {
    const { part } = this.#target;
    const result = this.#result;
    if (result.kind === 'film') return (index) => index < (this.#kept?.segments.keptFrames ?? 0);
    if (result.kind === 'picture' || this.#options.resume !== true) return () => false;
    return (index) => [part, result.folder].some((folder) => existsSync(path.join(folder, result.name(index))));
  }

  async #openWriter(source: FilmSource, stream: UpscalerStream): Promise<FilmWriter> {
    const { name, part } = this.#target;
    const result = this.#result;
    switch (result.kind) {
      case 'picture':
        return new PictureWriter(name, onlyOne({ file: part, name }, source), pictureNotices(source));
      case 'pictures': {
        const fileOf = (index: number) => ({
          file: path.join(part, result.name(index)),
          name: result.name(index),
          temporary: path.join(part, UNFINISHED),
        });
        return new PictureWriter(name, fileOf, pictureNotices(source));
      }
      case 'film':
        return VideoWriter.open(this.#target, source, {
          width: stream.outputWidth,
          height: stream.outputHeight,
          crf: this.#options.crf,
          preset: this.#options.preset,
          threads: this.#kept?.threads ?? availableParallelism(),
          codec: this.#options.codec,
          sound: this.#options.sound ?? true,
          streamFormat: this.#options.format,
          store: this.#kept?.segments,
        });
    }
  }

  /** A model that makes less than was asked for, because of its factor or a bound on the result's size, says so. */
  #scaleNotices(width: number): string[] {
    const [source] = this.#sources;
    const asked = this.#options.model.scale;
    if (source === undefined || !this.#options.scaleAsked) return [];
    const real = width / source.info.width;
    // A side that is cut to an even number is no other scale.
    if (Math.abs(real - asked) * source.info.width <= 2) return [];
    const factor = Number(real.toFixed(2));
    return [
      `--scale ${asked} was asked for; the result is ${factor} times as large, which is what ${this.#upscaler.info.label} makes of ${source.info.width}x${source.info.height}.`,
    ];
  }
}

function onlyOne(place: { readonly file: string; readonly name: string }, source: FilmSource) {
  return (index: number): { readonly file: string; readonly name: string } => {
    if (index > 0) throw onePictureOnly(place.name, source.file);
    return place;
  };
}

function pictureNotices({ streams, video }: FilmSource): string[] {
  const others = streams.filter(({ index }) => index !== video.index).length;
  return others === 0 ? [] : [`Pictures hold nothing else: ${others} other tracks are left out.`];
}

function fieldsNotTaken(label: string): AppError {
  return new AppError('config.invalid', `${label} works on whole pictures; --keep-interlaced is for --model resize.`, {
    remedy: 'Leave the flag out (interlaced video is deinterlaced then), or use --model resize.',
  });
}
