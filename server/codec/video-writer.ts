import path from 'node:path';
import {
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AVFMT_GLOBALHEADER,
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_PIX_FMT_YUV420P,
  AV_PKT_DATA_DISPLAYMATRIX,
  FF_ENCODER_LIBX264,
} from 'node-av/constants';
import { Codec, CodecContext, CodecParameters, FormatContext, Packet, Rational, type Stream } from 'node-av/lib';
import { AppError } from '../errors.ts';
import { libavColour } from './colour.ts';
import { FramePool, frameOf } from './frame-picture.ts';
import { check, libavMessage } from './native.ts';
import type { VideoReader } from './video-reader.ts';
import type { Picture } from '../media/picture.ts';
import type { Colour } from '../media/types.ts';

export interface VideoWriterOptions {
  readonly width: number;
  readonly height: number;
  readonly colour: Colour;
  /** x264's constant quality, 0 (lossless) to 51; 18 is visually close to its source. */
  readonly crf: number;
  readonly preset: string;
  readonly threads: number;
}

export interface WriteTarget {
  /** The result's name as the user gave it: its ending chooses the format, and messages name it. */
  readonly name: string;
  /** The file that is written. */
  readonly part: string;
}

const MUXERS: Readonly<Record<string, string>> = {
  '.mp4': 'mp4',
  '.m4v': 'mp4',
  '.mov': 'mov',
  '.mkv': 'matroska',
  '.ts': 'mpegts',
};

/**
 * Writes H264 with the times, display matrix, sample aspect and audio of a source file. Odd sides lose their last column or
 * row, as in live encoding (encoder.ts).
 */
export class VideoWriter {
  readonly file: string;
  readonly width: number;
  readonly height: number;
  readonly #format: FormatContext;
  readonly #encoder: CodecContext;
  readonly #video: Stream;
  readonly #audio: ReadonlyMap<number, Stream>;
  readonly #source: VideoReader;
  readonly #packet: Packet;
  /** By pts, of pictures inside the encoder, which does not carry durations through. */
  readonly #durations = new Map<bigint, bigint>();
  #pool: FramePool | undefined;
  #closed = false;

  private constructor(
    file: string,
    source: VideoReader,
    format: FormatContext,
    encoder: CodecContext,
    video: Stream,
    audio: ReadonlyMap<number, Stream>,
  ) {
    this.file = file;
    this.width = encoder.width;
    this.height = encoder.height;
    this.#source = source;
    this.#format = format;
    this.#encoder = encoder;
    this.#video = video;
    this.#audio = audio;
    this.#packet = new Packet();
    this.#packet.alloc();
  }

  /** @throws AppError file.unreadable with the reason and what to do */
  static async open(target: WriteTarget, source: VideoReader, options: VideoWriterOptions): Promise<VideoWriter> {
    const file = target.name;
    const format = new FormatContext();
    const muxer = MUXERS[path.extname(file).toLowerCase()];
    if (muxer === undefined)
      throw unwritable(file, `its ending names no video format; use ${Object.keys(MUXERS).join(', ')}`);
    // A path from the root: libav would take a colon in a relative one for a protocol.
    check(
      format.allocOutputContext2(null, muxer, path.resolve(target.part)),
      `Opening the ${muxer} format`,
      'internal',
    );
    if (format.oformat === null) throw new AppError('internal', `This FFmpeg does not write ${muxer}.`);
    try {
      const encoder = openEncoder(file, format, source, options);
      const video = format.newStream(null);
      video.codecpar.fromContext(encoder);
      video.timeBase = source.video.timeBase;
      video.sampleAspectRatio = sampleAspect(source);
      const matrix = source.video.codecpar.getCodedSideData(AV_PKT_DATA_DISPLAYMATRIX);
      if (matrix !== null) video.codecpar.addCodedSideData(AV_PKT_DATA_DISPLAYMATRIX, matrix);
      const audio = new Map(source.audio.map((stream) => [stream.index, copyStream(format, stream)]));
      const opened = await format.openOutput();
      if (opened < 0) throw unwritable(file, libavMessage(opened));
      const written = await format.writeHeader(null);
      if (written < 0) {
        throw unwritable(
          file,
          `${format.oformat.name ?? 'the format'} does not take these streams (${libavMessage(written)}); try .mkv`,
        );
      }
      return new VideoWriter(file, source, format, encoder, video, audio);
    } catch (error) {
      await format.closeOutput();
      format.freeContext();
      throw error;
    }
  }

  /** @param pts in the source's time base, later than the last one's; the picture stays the caller's */
  async write(picture: Picture, pts: bigint, duration: bigint): Promise<void> {
    const { frame, done } = frameOf(picture, () => this.#framePool(picture));
    const view = frame.clone();
    if (view === null) throw new AppError('internal', 'No memory for a frame reference.');
    try {
      view.width = this.width;
      view.height = this.height;
      view.pts = pts;
      this.#durations.set(pts, duration);
      const code = await this.#encoder.sendFrame(view);
      if (code < 0) throw unwritable(this.file, libavMessage(code));
    } finally {
      view.free();
      done();
    }
    await this.#drain();
  }

  /** Takes a packet of one of the source's audio streams and frees it. */
  async copy(packet: Packet, from: Stream): Promise<void> {
    const to = this.#audio.get(from.index);
    if (to !== undefined) {
      packet.rescaleTs(from.timeBase, to.timeBase);
      packet.streamIndex = to.index;
      packet.pos = -1n;
      await this.#put(packet);
    }
    packet.free();
  }

  /** Encodes what is inside and completes the file. */
  async finish(): Promise<void> {
    await this.#encoder.sendFrame(null);
    await this.#drain();
    const code = await this.#format.writeTrailer();
    if (code < 0) throw unwritable(this.file, libavMessage(code));
    await this.close();
  }

  /** Idempotent; without finish() before it the file is incomplete. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#encoder.freeContext();
    this.#packet.free();
    this.#pool?.close();
    await this.#format.closeOutput();
    this.#format.freeContext();
  }

  async #drain(): Promise<void> {
    const packet = this.#packet;
    for (;;) {
      const code = await this.#encoder.receivePacket(packet);
      if (code === AVERROR_EAGAIN || code === AVERROR_EOF) return;
      if (code < 0) throw unwritable(this.file, libavMessage(code));
      // Without it the last picture would last no time at all.
      packet.duration = this.#durations.get(packet.pts) ?? 0n;
      this.#durations.delete(packet.pts);
      packet.rescaleTs(this.#source.video.timeBase, this.#video.timeBase);
      packet.streamIndex = this.#video.index;
      await this.#put(packet);
      packet.unref();
    }
  }

  async #put(packet: Packet): Promise<void> {
    const code = await this.#format.interleavedWriteFrame(packet);
    if (code < 0) throw unwritable(this.file, libavMessage(code));
  }

  #framePool({ width, height }: Picture): FramePool {
    if (this.#pool?.width !== width || this.#pool.height !== height) {
      this.#pool?.close();
      this.#pool = new FramePool(width, height);
    }
    return this.#pool;
  }
}

function openEncoder(
  file: string,
  format: FormatContext,
  source: VideoReader,
  options: VideoWriterOptions,
): CodecContext {
  const codec = Codec.findEncoderByName(FF_ENCODER_LIBX264);
  if (codec === null) throw new AppError('internal', 'This FFmpeg has no x264.');
  const context = new CodecContext();
  context.allocContext3(codec);
  const { space, range, primaries, transfer } = libavColour(options.colour);
  context.width = options.width & ~1;
  context.height = options.height & ~1;
  context.pixelFormat = AV_PIX_FMT_YUV420P;
  context.timeBase = source.video.timeBase;
  context.framerate = new Rational(Math.round(source.info.framesPerSecond * 1000), 1000);
  context.sampleAspectRatio = sampleAspect(source);
  context.threadCount = options.threads;
  context.colorSpace = space;
  context.colorRange = range;
  context.colorPrimaries = primaries;
  context.colorTrc = transfer;
  if (format.oformat?.hasFlags(AVFMT_GLOBALHEADER) === true) context.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER);
  const failures = [context.setOption('preset', options.preset), context.setOption('crf', String(options.crf))];
  const code = Math.min(...failures) < 0 ? Math.min(...failures) : context.open2Sync(codec, null);
  if (code >= 0) return context;
  context.freeContext();
  throw unwritable(
    file,
    `x264 does not take ${options.width}x${options.height}, preset ${options.preset} (${libavMessage(code)})`,
  );
}

function sampleAspect({ sampleAspectRatio: { num, den } }: VideoReader): Rational {
  return new Rational(num, den);
}

function copyStream(format: FormatContext, from: Stream): Stream {
  const to = format.newStream(null);
  const parameters: CodecParameters = to.codecpar;
  from.codecpar.copy(parameters);
  // A tag of another container may mean something else in this one.
  parameters.codecTag = 0;
  to.timeBase = from.timeBase;
  return to;
}

function unwritable(file: string, reason: string): AppError {
  return new AppError('file.unwritable', `${file} cannot be written: ${reason}.`, {
    context: { file, reason },
    remedy: 'Check the folder, the free space and the ending of the file name (.mp4 or .mkv).',
  });
}
