import path from 'node:path';
import {
  AVERROR_EAGAIN,
  AVERROR_EINVAL,
  AVERROR_EOF,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_VIDEO,
  AV_DISPOSITION_ATTACHED_PIC,
  AV_NOPTS_VALUE,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUVJ420P,
} from 'node-av/constants';
import { Codec, CodecContext, FormatContext, Frame, Packet, type Stream } from 'node-av/lib';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import { newTrace } from '../media/steps.ts';
import { colourOf, setFrameColour } from './colour.ts';
import { FramePicture } from './frame-picture.ts';
import { libavMessage } from './native.ts';
import { PictureScaler } from './scaler.ts';
import { MAX_FILE_PIXELS, allowedDecoder, boundDecoder, inputOptions, protocolsFor } from './untrusted.ts';
import type { Colour } from '../media/types.ts';

/** Time base of a stream, in seconds: num / den. */
export interface TimeBase {
  readonly num: number;
  readonly den: number;
}

export interface VideoInfo {
  readonly width: number;
  readonly height: number;
  readonly timeBase: TimeBase;
  readonly framesPerSecond: number;
  /** From the container, where it says so; otherwise estimated from the duration. */
  readonly estimatedFrames: number | undefined;
}

/** What comes out of a file, in its order. A packet belongs to the receiver, who frees it. */
export type ReadItem =
  | { readonly type: 'picture'; readonly picture: FramePicture; readonly pts: bigint; readonly duration: bigint }
  | { readonly type: 'packet'; readonly packet: Packet; readonly stream: Stream };

/** Numbers pictures: an upscaler gives it back as it got it, so it names the picture whatever the file's clock is. */
export const TICKS_PER_PICTURE = 3000;

/** A video file of a common kind: its pictures decoded, its audio untouched. */
export class VideoReader {
  readonly file: string;
  readonly info: VideoInfo;
  readonly video: Stream;
  readonly audio: readonly Stream[];
  /** Packets the decoder could not use. */
  damagedPackets = 0;
  readonly #format: FormatContext;
  readonly #decoder: CodecContext;
  #converter: PictureScaler | undefined;
  #pictures = 0;
  #lastPts: bigint | undefined;
  #closed = false;

  private constructor(file: string, format: FormatContext, video: Stream, decoder: CodecContext) {
    this.file = file;
    this.video = video;
    this.#format = format;
    this.#decoder = decoder;
    this.audio = format.streams.filter((stream) => stream.codecpar.codecType === AVMEDIA_TYPE_AUDIO);
    this.info = videoInfo(format, video);
  }

  /**
   * @param file a path, or an http or https address; formats, codecs and protocols by allow-list (untrusted.ts)
   * @throws AppError file.unreadable with FFmpeg's reason
   */
  static async open(file: string, threads: number): Promise<VideoReader> {
    const protocols = protocolsFor(file);
    if (protocols === undefined) throw unreadable(file, 'only files and http or https addresses are read');
    const format = new FormatContext();
    const options = inputOptions(protocols);
    // As an address, so that a colon in a name is no protocol.
    const url = protocols.includes('file') ? `file:${path.resolve(file)}` : file;
    const opened = await format.openInput(url, null, options);
    options.free();
    if (opened === AVERROR_EINVAL)
      throw unreadable(file, 'its format is not one of the allowed ones, or it is damaged');
    if (opened < 0) throw unreadable(file, libavMessage(opened));
    try {
      const found = await format.findStreamInfo(null);
      if (found < 0) throw unreadable(file, libavMessage(found));
      const index = format.findBestStream(AVMEDIA_TYPE_VIDEO);
      const video = format.streams[index];
      // Cover art of a song is a video stream of one picture.
      if (video === undefined || video.hasDisposition(AV_DISPOSITION_ATTACHED_PIC))
        throw unreadable(file, 'it has no video');
      return new VideoReader(file, format, video, openDecoder(file, video, threads));
    } catch (error) {
      await format.closeInput();
      throw error;
    }
  }

  /** Pictures and audio packets until the end of the file. @throws AppError file.unreadable when the disk fails */
  async *read(): AsyncGenerator<ReadItem, void, undefined> {
    const audio = new Map(this.audio.map((stream) => [stream.index, stream]));
    for (;;) {
      const packet = new Packet();
      packet.alloc();
      const code = await this.#format.readFrame(packet);
      if (code < 0) {
        packet.free();
        // A file cut off in the middle ends with an error instead of its end: what is there is still worth having.
        if (code !== AVERROR_EOF && this.#pictures === 0) throw unreadable(this.file, libavMessage(code));
        break;
      }
      const stream = audio.get(packet.streamIndex);
      if (stream !== undefined) yield { type: 'packet', packet, stream };
      else {
        if (packet.streamIndex === this.video.index) yield* this.#decode(packet);
        packet.free();
      }
    }
    yield* this.#decode(null);
    if (this.#pictures === 0) throw unreadable(this.file, 'none of its pictures could be decoded');
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#decoder.freeContext();
    this.#converter?.close();
    await this.#format.closeInput();
  }

  async *#decode(packet: Packet | null): AsyncGenerator<ReadItem, void, undefined> {
    const sent = await this.#decoder.sendPacket(packet);
    if (sent < 0 && sent !== AVERROR_EOF) this.damagedPackets += 1;
    for (;;) {
      const frame = new Frame();
      frame.alloc();
      const code = await this.#decoder.receiveFrame(frame);
      if (code < 0) {
        frame.free();
        if (code !== AVERROR_EAGAIN && code !== AVERROR_EOF) this.damagedPackets += 1;
        return;
      }
      const pts = this.#ptsOf(frame);
      const { duration } = frame;
      yield { type: 'picture', picture: this.#picture(frame), pts, duration };
    }
  }

  /** Presentation time in the stream's time base; always later than the last one's, made up where the file has none. */
  #ptsOf(frame: Frame): bigint {
    const known = frame.bestEffortTimestamp;
    const last = this.#lastPts;
    let pts = known;
    if (known === AV_NOPTS_VALUE) pts = last === undefined ? 0n : last + this.#intervalTicks();
    if (last !== undefined && pts <= last) pts = last + 1n;
    this.#lastPts = pts;
    return pts;
  }

  #intervalTicks(): bigint {
    const { timeBase, framesPerSecond } = this.info;
    return BigInt(Math.max(1, Math.round(timeBase.den / (timeBase.num * framesPerSecond))));
  }

  #picture(frame: Frame): FramePicture {
    const { width, height } = this.info;
    const now = monotonicUs();
    const trace = { ...newTrace(now, now), decodedAtUs: now, convertedAtUs: now };
    const mediaTime = this.#pictures * TICKS_PER_PICTURE;
    this.#pictures += 1;
    const colour = colourOf(frame, fileColour(height));
    const plain = frame.format === AV_PIX_FMT_YUV420P || frame.format === AV_PIX_FMT_YUVJ420P;
    if (plain && frame.width === width && frame.height === height) {
      setFrameColour(frame, colour);
      return new FramePicture(frame, colour, mediaTime, trace);
    }
    // Other pixel formats, and files that change their size half-way: the first size stays.
    this.#converter ??= new PictureScaler(width, height, 'bicubic');
    const picture = this.#converter.scaleFrame(frame, colour, mediaTime, trace);
    frame.free();
    return picture;
  }
}

/** Files that do not say mean BT.709 from 720 lines on, as players assume. */
function fileColour(height: number): Colour {
  return { matrix: height >= 720 ? 'bt709' : 'bt601', range: 'limited' };
}

function openDecoder(file: string, video: Stream, threads: number): CodecContext {
  const codec = Codec.findDecoder(video.codecpar.codecId);
  if (codec === null) throw unreadable(file, 'its video codec is not known to this FFmpeg');
  if (!allowedDecoder(codec.name))
    throw unreadable(file, `its video codec, ${codec.name ?? '?'}, is not one of the allowed ones`);
  const { width, height } = video.codecpar;
  if (width * height > MAX_FILE_PIXELS) {
    throw unreadable(file, `its pictures are ${width}x${height}, more than ${MAX_FILE_PIXELS} pixels`);
  }
  const context = new CodecContext();
  context.allocContext3(codec);
  context.parametersToContext(video.codecpar);
  context.pktTimebase = video.timeBase;
  boundDecoder(context, threads);
  const code = context.open2Sync(codec, null);
  if (code >= 0) return context;
  context.freeContext();
  throw unreadable(file, `its decoder does not open (${libavMessage(code)})`);
}

function videoInfo(format: FormatContext, video: Stream): VideoInfo {
  const { num, den } = video.timeBase;
  const rate = [video.avgFrameRate, video.rFrameRate]
    .map(({ num: n, den: d }) => (d > 0 ? n / d : 0))
    .find((fps) => fps > 0);
  const framesPerSecond = rate ?? 30;
  const seconds =
    video.duration > 0n
      ? (Number(video.duration) * num) / den
      : format.duration > 0n
        ? Number(format.duration) / 1e6
        : 0;
  const counted = Number(video.nbFrames);
  const estimated = counted > 0 ? counted : Math.round(seconds * framesPerSecond);
  return {
    width: video.codecpar.width,
    height: video.codecpar.height,
    timeBase: { num, den },
    framesPerSecond,
    estimatedFrames: estimated > 0 ? estimated : undefined,
  };
}

function unreadable(file: string, reason: string): AppError {
  return new AppError('file.unreadable', `${file} cannot be read as a video: ${reason}.`, {
    context: { file, reason },
  });
}
