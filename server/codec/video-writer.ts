import path from 'node:path';
import { AVERROR_EPIPE, AVFMT_GLOBALHEADER, AV_CODEC_ID_HEVC } from 'node-av/constants';
import { Dictionary, FormatContext, Rational, type CodecContext, type Packet, type Stream } from 'node-av/lib';
import { AppError } from '../errors.ts';
import type { Picture } from '../media/picture.ts';
import {
  DEFAULT_STREAM_FORMAT,
  STREAM_FORMATS,
  VIDEO_ENDINGS,
  containerOf,
  type Container,
  type FileCodec,
  type StreamFormat,
} from './containers.ts';
import { describeStream } from './encoder-look.ts';
import { chooseCodec, openFileEncoder } from './file-encoder.ts';
import { FilmEncoder } from './film-encoder.ts';
import type { FilmWriter, PictureTiming } from './film-writer.ts';
import { FramePool, frameOf } from './frame-picture.ts';
import { check, libavMessage } from './native.ts';
import { SEGMENT_FRAMES, type SegmentStore } from './segment-store.ts';
import { STANDARD, outputLabel } from './standard-streams.ts';
import { writeChapters } from './tracks/chapter-writer.ts';
import type { Chapter } from './tracks/chapters.ts';
import { keptMetadata } from './tracks/metadata.ts';
import { Tracks } from './tracks/tracks.ts';
import type { FilmSource } from './video-reader.ts';

export interface VideoWriterOptions {
  readonly width: number;
  readonly height: number;
  /** x264's constant quality, 0 (lossless) to 51; 18 is visually close to its source. */
  readonly crf: number;
  readonly preset: string;
  readonly threads: number;
  /** Absent: what the container and the size ask for. */
  readonly codec?: FileCodec | undefined;
  /** False: the result is silent. */
  readonly sound: boolean;
  /** Of standard output, which has no ending; absent: DEFAULT_STREAM_FORMAT. */
  readonly streamFormat?: StreamFormat | undefined;
  /** Of frames that a run before has finished, and where this one's go; the caller's. Absent: none are kept. */
  readonly store?: SegmentStore | undefined;
}

export interface WriteTarget {
  /** The result's name as the user gave it: its ending chooses the format, and messages name it. `-` is standard output. */
  readonly name: string;
  /** The file that is written; not used for standard output. */
  readonly part: string;
}

interface Parts {
  readonly tracks: Tracks;
  readonly notices: string[];
  readonly store: SegmentStore | undefined;
  /** Absent: there are none, or the container takes none. */
  readonly chapters:
    { readonly part: string; readonly form: 'matroska' | 'mp4'; readonly all: readonly Chapter[] } | undefined;
}

/**
 * Writes a film with the times, display matrix, sample aspect, description and tracks (tracks/tracks.ts) of a source file. Odd sides
 * lose their last column or row, as in live encoding (encoder.ts).
 */
export class VideoWriter implements FilmWriter {
  readonly file: string;
  readonly width: number;
  readonly height: number;
  readonly #notices: string[];
  readonly #store: SegmentStore | undefined;
  readonly #format: FormatContext;
  readonly #encoder: FilmEncoder;
  readonly #tracks: Tracks;
  readonly #chapters: Parts['chapters'];
  #pool: FramePool | undefined;
  #closed = false;

  private constructor(
    file: string,
    format: FormatContext,
    encoder: FilmEncoder,
    { tracks, notices, store, chapters }: Parts,
  ) {
    this.#chapters = chapters;
    this.file = file;
    this.width = encoder.context.width;
    this.height = encoder.context.height;
    this.#notices = notices;
    this.#store = store;
    this.#format = format;
    this.#encoder = encoder;
    this.#tracks = tracks;
  }

  /** Sentences for the user: what was chosen, converted or left out. */
  get notices(): readonly string[] {
    return [...this.#notices, ...(this.#store?.notices ?? [])];
  }

  /** Packets of tracks that could be neither copied nor converted. */
  get damagedPackets(): number {
    return this.#tracks.damagedPackets;
  }

  /** @throws AppError file.unwritable with the reason and what to do; config.invalid for a codec that the container lacks */
  static async open(target: WriteTarget, source: FilmSource, options: VideoWriterOptions): Promise<VideoWriter> {
    const file = outputLabel(target.name);
    const isStream = target.name === STANDARD;
    const streamFormat = options.streamFormat ?? DEFAULT_STREAM_FORMAT;
    const container = isStream ? STREAM_FORMATS[streamFormat] : containerFor(file);
    const ending = isStream ? streamFormat : path.extname(file);
    const { framesPerSecond } = source.info;
    const { codec, notice } = chooseCodec(options.codec, container, ending, { ...options, framesPerSecond });
    const format = new FormatContext();
    // A path from the root: libav would take a colon in a relative one for a protocol.
    const url = isStream ? 'pipe:1' : path.resolve(target.part);
    const allocated = format.allocOutputContext2(null, container.muxer, url);
    check(allocated, `Opening the ${container.muxer} format`, 'internal');
    const globalHeader = format.oformat?.hasFlags(AVFMT_GLOBALHEADER) === true;
    let encoder: FilmEncoder | undefined;
    let tracks: Tracks | undefined;
    try {
      const { timeBase } = source.info;
      const { look } = source;
      const open = (): CodecContext =>
        openFileEncoder(file, { ...options, codec, timeBase, framesPerSecond, look, globalHeader });
      const written: { video?: Stream } = {};
      const write = async (packet: Packet): Promise<void> => {
        const { video } = written;
        if (video === undefined) throw new AppError('internal', 'A packet came before its stream.');
        packet.rescaleTs(rational(timeBase), video.timeBase);
        packet.streamIndex = video.index;
        checkWritten(file, await format.interleavedWriteFrame(packet));
      };
      encoder = new FilmEncoder({ file, open, write, store: options.store, segmentFrames: SEGMENT_FRAMES[codec] });
      written.video = addVideo(format, encoder.context, source, container);
      tracks = new Tracks(format, container, source, { ...options, ending, globalHeader });
      const metadata = keptMetadata(source.metadata);
      if (metadata !== undefined) format.metadata = metadata;
      await writeHeader(file, format, tracks, isStream ? container.streamOptions : undefined);
      const notices = [...(notice === undefined ? [] : [notice]), ...tracks.notices];
      const form = isStream ? undefined : container.chapters;
      const all = source.chapters;
      const chapters = form === undefined || all.length === 0 ? undefined : { part: target.part, form, all };
      if (chapters === undefined && all.length > 0) {
        notices.push(`Left out, as ${isStream ? 'a stream' : ending} does not take them: ${all.length} chapters.`);
      }
      return new VideoWriter(file, format, encoder, { tracks, notices, store: options.store, chapters });
    } catch (error) {
      tracks?.close();
      await encoder?.close();
      await format.closeOutput();
      format.freeContext();
      throw error;
    }
  }

  async write(picture: Picture, { pts, duration }: PictureTiming): Promise<void> {
    const { frame, done } = frameOf(picture, () => this.#framePool(picture));
    const view = frame.clone();
    if (view === null) throw new AppError('internal', 'No memory for a frame reference.');
    try {
      view.width = this.width;
      view.height = this.height;
      view.pts = pts;
      await this.#encoder.encode(view, duration);
    } finally {
      view.free();
      done();
    }
  }

  passKept({ pts }: PictureTiming): Promise<void> {
    return this.#encoder.passKept(pts);
  }

  endsSegment(index: number): boolean {
    return this.#encoder.endsSegment(index);
  }

  remember(memory: Uint8Array): void {
    this.#store?.remember(memory);
  }

  /** Takes a packet of one of the source's other streams and frees it. */
  async copy(packet: Packet, from: Stream): Promise<void> {
    checkWritten(this.file, await this.#tracks.push(packet, from, this.#write));
  }

  /** Encodes what is inside and completes the file. */
  async finish(): Promise<void> {
    await this.#encoder.finish();
    checkWritten(this.file, await this.#tracks.finish(this.#write));
    checkWritten(this.file, await this.#format.writeTrailer());
    await this.close();
    await this.#writeChapters();
  }

  /** Idempotent; without finish() before it the file is incomplete. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#encoder.close();
    this.#tracks.close();
    this.#pool?.close();
    await this.#format.closeOutput();
    this.#format.freeContext();
  }

  async #writeChapters(): Promise<void> {
    if (this.#chapters === undefined) return;
    const { part, form, all } = this.#chapters;
    try {
      const kept = await writeChapters(part, form, all);
      if (kept < all.length)
        this.#notices.push(`${all.length - kept} of ${all.length} chapters had no room in the result.`);
    } catch (error) {
      throw unwritable(this.file, (error as Error).message);
    }
  }

  readonly #write = (packet: Packet): Promise<number> => this.#format.interleavedWriteFrame(packet);

  #framePool({ width, height }: Picture): FramePool {
    if (this.#pool?.width !== width || this.#pool.height !== height) {
      this.#pool?.close();
      this.#pool = new FramePool(width, height);
    }
    return this.#pool;
  }
}

function containerFor(file: string): Container {
  const container = containerOf(file);
  if (container !== undefined) return container;
  throw unwritable(file, `its ending names no format of a video; use ${VIDEO_ENDINGS.join(', ')}`);
}

function rational({ num, den }: { readonly num: number; readonly den: number }): Rational {
  return new Rational(num, den);
}

function addVideo(format: FormatContext, encoder: CodecContext, source: FilmSource, container: Container): Stream {
  const { num, den } = source.look.sampleAspectRatio;
  const video = format.newStream(null);
  video.codecpar.fromContext(encoder);
  // What Apple's players ask for: parameter sets in the header alone.
  if (container.chapters === 'mp4' && encoder.codecId === AV_CODEC_ID_HEVC) video.codecpar.codecTag = 'hvc1';
  video.timeBase = rational(source.info.timeBase);
  video.sampleAspectRatio = new Rational(num, den);
  video.disposition = source.video.disposition;
  const metadata = keptMetadata(source.video.metadata);
  if (metadata !== undefined) video.metadata = metadata;
  // Time codes count frames by it; else it would be a promise of a constant rate.
  const { num: frames, den: seconds } = source.video.avgFrameRate;
  if (metadata?.get('timecode') != null) video.avgFrameRate = new Rational(frames, seconds);
  describeStream(video.codecpar, source.video.codecpar, source.look, encoder.width / source.info.width);
  return video;
}

async function writeHeader(
  file: string,
  format: FormatContext,
  tracks: Tracks,
  options: Container['streamOptions'],
): Promise<void> {
  const opened = await format.openOutput();
  if (opened < 0) throw unwritable(file, libavMessage(opened));
  // What libav asks for before it writes 360 degrees and stereo into an MP4: they are Google's, in no standard of ISO.
  const dictionary = Dictionary.fromObject({ strict: 'unofficial', ...options });
  const written = await format.writeHeader(dictionary);
  dictionary.free();
  if (written === AVERROR_EPIPE) throw readerGone(file);
  if (written < 0) {
    const name = format.oformat?.name ?? 'the format';
    throw unwritable(file, `${name} does not take these streams (${libavMessage(written)}); try .mkv`);
  }
  const begun = await tracks.begin((packet) => format.interleavedWriteFrame(packet));
  if (begun < 0) throw unwritable(file, libavMessage(begun));
}

function checkWritten(file: string, code: number): void {
  if (code === AVERROR_EPIPE) throw readerGone(file);
  if (code < 0) throw unwritable(file, libavMessage(code));
}

/** The program behind the pipe ended, or closed it: `| head`, a player that was closed. */
function readerGone(file: string): AppError {
  return new AppError('file.unwritable', `${file} was closed by the program that reads it; the result is incomplete.`, {
    context: { file },
    remedy: 'Let that program read to the end, or give the name of a file as the result.',
  });
}

function unwritable(file: string, reason: string): AppError {
  return new AppError('file.unwritable', `${file} cannot be written: ${reason}.`, {
    context: { file, reason },
    remedy: 'Check the folder, the free space and the ending of the file name (.mp4 or .mkv).',
  });
}
