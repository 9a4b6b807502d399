import {
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AVERROR_INVALIDDATA,
  AVFMT_TS_DISCONT,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_VIDEO,
  AV_DISPOSITION_ATTACHED_PIC,
  AV_NOPTS_VALUE,
  AV_PKT_FLAG_DISCARD,
} from 'node-av/constants';
import { Frame, Packet, type CodecContext, type Dictionary, type FormatContext, type Stream } from 'node-av/lib';
import {
  indexReason,
  isStillFormat,
  openFileInput,
  unreadable,
  videoInfo,
  type FileInput,
  type VideoInfo,
} from './file-input.ts';
import { FilePictures, type PictureItem, type PictureLook, type PictureOptions } from './file-pictures.ts';
import { FileTimeline, type StreamKind, type Stretch } from './file-timeline.ts';
import { libavMessage } from './native.ts';
import { inputLabel } from './standard-streams.ts';
import { isCutGif, isCutJpeg } from './still-input.ts';
import { movedChapters, readChapters, type Chapter } from './tracks/chapters.ts';
import { protocolsFor } from './untrusted.ts';
import type { Colour } from '../media/types.ts';

export type { TimeBase, VideoInfo } from './file-input.ts';
export { TICKS_PER_PICTURE } from './file-pictures.ts';

/** What comes out of a file, in its order. A packet belongs to the receiver, who frees it. */
export type ReadItem = PictureItem | { readonly type: 'packet'; readonly packet: Packet; readonly stream: Stream };

/** A film to be upscaled: a file (VideoReader), or pictures (PictureSequence). */
export interface FilmSource {
  /** As the user named it. */
  readonly file: string;
  readonly info: VideoInfo;
  /** Describes the pictures. */
  readonly video: Stream;
  /** All of the file, the pictures' too. */
  readonly streams: readonly Stream[];
  readonly covers: ReadonlyMap<number, Buffer>;
  readonly metadata: Dictionary | null;
  /** On the film's clock; certain with the first item of read(). */
  readonly chapters: readonly Chapter[];
  /** Certain with the first item of read(). */
  readonly look: PictureLook;
  readonly damagedPackets: number;
  readonly notices: readonly string[];
  read(): AsyncGenerator<ReadItem, void, undefined>;
  close(): Promise<void>;
}

/** Sound held back until the first picture: three quarters of an hour of it at common rates. */
const MAX_HELD_BYTES = 64 * 2 ** 20;
const MAX_HELD_PACKETS = 200_000;
/** At a jump of the clock: until every stream has arrived behind it. A stream that has ended never does. */
const MAX_PLACED_PACKETS = 1000;
/** Sound in front of time 0 that a decoder needs to start (its priming, at most a few packets). */
const PRIMING_SECONDS = 0.25;

/**
 * A video file of a common kind: its pictures decoded, its audio untouched, on one clock that starts at 0 and does not jump
 * (file-timeline.ts). Nothing comes out before the first picture, so that the colour and the shape of the pictures are known with
 * the first item.
 */
export class VideoReader implements FilmSource {
  readonly file: string;
  readonly info: VideoInfo;
  readonly video: Stream;
  readonly audio: readonly Stream[];
  /** All of the file, the pictures' too. */
  readonly streams: readonly Stream[];
  /** Title, date, place, … of the file. */
  readonly metadata: Dictionary | null;
  /** Cover art by its stream's index, as it lies in the file; known with the first item. */
  readonly covers = new Map<number, Buffer>();
  /** Packets the decoder could not use. */
  damagedPackets = 0;
  /** What the user should know about how the file was read; complete when read() has ended. */
  readonly notices: string[] = [];
  readonly #name: string;
  readonly #format: FormatContext;
  readonly #decoder: CodecContext;
  readonly #timeline: FileTimeline;
  /** Read and not yet given out: around a jump of the clock. */
  readonly #placed: { readonly packet: Packet; readonly stream: Stream; readonly stretch: Stretch }[] = [];
  #ended = false;
  readonly #kinds = new Map<number, StreamKind>();
  readonly #pictures: FilePictures;
  #decoded = 0;
  #lastPts: bigint | undefined;
  /** End of the packets read, of any stream, by the file's own clock. */
  #endSeconds = -Infinity;
  /** End of a packet that says "the picture stays", in the video's ticks. */
  #repeatedUntil = -1n;
  #chapters: readonly Chapter[] = [];
  #closed = false;

  private constructor(name: string, input: FileInput, options: PictureOptions) {
    const { format, video, decoder } = input;
    const file = inputLabel(name);
    this.file = file;
    this.#name = name;
    this.video = video;
    this.#format = format;
    this.#decoder = decoder;
    this.streams = format.streams;
    this.metadata = format.metadata;
    this.audio = format.streams.filter((stream) => stream.codecpar.codecType === AVMEDIA_TYPE_AUDIO);
    this.info = videoInfo(input);
    this.#timeline = new FileTimeline(clockMayJump(format));
    for (const { index, codecpar } of format.streams) this.#kinds.set(index, kindOf(codecpar.codecType));
    const { info, notices } = this;
    this.#pictures = new FilePictures({ file, info, video, decoder, notices, orientation: input.orientation }, options);
  }

  /**
   * @param file a path, an http or https address, or `-` for standard input; formats, codecs and protocols by allow-list (untrusted.ts)
   * @throws AppError file.unreadable with FFmpeg's reason
   */
  static async open(file: string, threads: number, options: PictureOptions = {}): Promise<VideoReader> {
    const reader = new VideoReader(file, await openFileInput(file, threads), options);
    const isFile = protocolsFor(file)?.[0] === 'file';
    if (!reader.isStill) reader.#chapters = await readChapters(reader.#format);
    else if (isFile && isCutJpeg(file))
      reader.notices.push(`${file} is cut off: the end of its picture is missing. What is there was upscaled.`);
    if (isFile && isCutGif(file))
      reader.notices.push(`${file} is cut off: the end of a frame is missing. What is there was upscaled.`);
    return reader;
  }

  /** On the film's clock; certain with the first item of read(). */
  get chapters(): readonly Chapter[] {
    return this.#chapters;
  }

  /** A file of one picture (.png, .jpg, …), not a film of one frame. */
  get isStill(): boolean {
    return isStillFormat(this.#format);
  }

  /** Of the pictures; what the file's first picture says once that was read. */
  get colour(): Colour {
    return this.#pictures.colour;
  }

  /** Width of a pixel by its height; 0/1 where the file does not say. */
  get sampleAspectRatio(): { readonly num: number; readonly den: number } {
    return this.#pictures.sampleAspectRatio;
  }

  /** How the pictures look: colour, sample aspect, bit depth, fields. Certain with the first item of read(). */
  get look(): PictureLook {
    return this.#pictures;
  }

  /**
   * Pictures, and the packets of all other streams, until the end of the file; the first picture first, or close to it.
   * @throws AppError file.unreadable when the disk or the connection fails, or nothing can be decoded
   */
  async *read(): AsyncGenerator<ReadItem, void, undefined> {
    const held: ReadItem[] = [];
    let heldBytes = 0;
    let origin: number | undefined;
    try {
      for await (const item of this.#items()) {
        if (origin !== undefined) {
          yield this.#moved(item, -origin);
          continue;
        }
        held.push(item);
        if (item.type === 'packet') heldBytes += item.packet.size;
        if (item.type === 'packet' && heldBytes < MAX_HELD_BYTES && held.length < MAX_HELD_PACKETS) continue;
        origin = this.#originOf(held);
        this.#chapters = movedChapters(this.#chapters, -origin);
        for (let first = held.shift(); first !== undefined; first = held.shift()) yield this.#moved(first, -origin);
      }
    } finally {
      for (const item of held) if (item.type === 'packet') item.packet.free();
    }
    if (this.#decoded === 0) throw unreadable(this.file, 'none of its pictures could be decoded');
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { packet } of this.#placed.splice(0)) packet.free();
    this.#decoder.freeContext();
    this.#pictures.close();
    await this.#format.closeInput();
  }

  /** Where the result's clock starts: the first picture or the first sound, whichever is earlier. */
  #originOf(items: readonly ReadItem[]): number {
    const firsts = new Map<number, number>();
    for (const item of items) {
      const { index, timeBase, codecpar } = item.type === 'packet' ? item.stream : this.video;
      if (item.type === 'packet' && this.#kinds.get(index) !== 'audio') continue;
      const pts = item.type === 'packet' ? item.packet.pts : item.pts;
      if (firsts.has(index) || pts === AV_NOPTS_VALUE) continue;
      if (item.type === 'packet' && item.packet.hasFlags(AV_PKT_FLAG_DISCARD)) continue;
      const start = (Number(pts) * timeBase.num) / timeBase.den;
      // Priming stays in front of time 0, where players expect it.
      const priming = start < 0 && codecpar.sampleRate > 0 ? codecpar.initialPadding / codecpar.sampleRate : 0;
      firsts.set(index, start + priming);
    }
    const origin = Math.min(...firsts.values());
    return Number.isFinite(origin) && Math.abs(origin) > 1e-4 ? origin : 0;
  }

  #moved(item: ReadItem, seconds: number): ReadItem {
    if (seconds === 0) return item;
    if (item.type === 'picture') return { ...item, pts: item.pts + ticks(seconds, this.video) };
    shift(item.packet, ticks(seconds, item.stream));
    return item;
  }

  /** Everything in the file's order, without jumps, by the file's own start. */
  async *#items(): AsyncGenerator<ReadItem, void, undefined> {
    const others = new Map(this.streams.map((stream) => [stream.index, stream]));
    others.delete(this.video.index);
    let last: PictureItem | undefined;
    const onPictures = function* (pictures: readonly PictureItem[]): Generator<ReadItem, void, undefined> {
      for (const picture of pictures) {
        if (last !== undefined) yield last.duration > 0n ? last : { ...last, duration: picture.pts - last.pts };
        last = picture;
      }
    };
    for (let packet = await this.#next(); packet !== undefined; packet = await this.#next()) {
      const stream = others.get(packet.streamIndex);
      if (stream?.hasDisposition(AV_DISPOSITION_ATTACHED_PIC) === true) {
        this.covers.set(stream.index, Buffer.from(packet.data ?? ''));
        packet.free();
        continue;
      }
      if (stream !== undefined) {
        if (this.#isPreroll(packet, stream)) packet.free();
        else yield { type: 'packet', packet, stream };
        continue;
      }
      if (packet.streamIndex === this.video.index) yield* onPictures(await this.#decode(packet));
      packet.free();
    }
    yield* onPictures(await this.#decode(null));
    if (last === undefined) return;
    const end = this.#repeatedUntil - last.pts;
    // FLV, ASF and others do not say how long a picture lasts; without it an MP4 ends where its last picture begins, and loses it.
    const duration = last.duration > 0n ? last.duration : this.#intervalTicks();
    yield { ...last, duration: end > duration ? end : duration };
  }

  /** The next packet with its times on the one clock. */
  async #next(): Promise<Packet | undefined> {
    for (;;) {
      const [first] = this.#placed;
      const waits = first !== undefined && !this.#timeline.isSettled(first.stretch);
      if (first !== undefined && (!waits || this.#ended || this.#placed.length >= MAX_PLACED_PACKETS)) {
        this.#placed.shift();
        shift(first.packet, ticks(first.stretch.offset, first.stream));
        return first.packet;
      }
      if (this.#ended) return undefined;
      const packet = new Packet();
      packet.alloc();
      const code = await this.#format.readFrame(packet);
      if (code < 0) {
        packet.free();
        this.#ended = true;
        this.#onEnd(code);
        continue;
      }
      const stream = this.#format.streams[packet.streamIndex];
      const stretch = stream === undefined ? undefined : this.#stretchOf(packet, stream);
      if (stream === undefined || stretch === undefined) packet.free();
      else this.#placed.push({ packet, stream, stretch });
    }
  }

  #onEnd(code: number): void {
    const isAddress = /^https?:/i.test(this.file);
    if (code !== AVERROR_EOF && (code !== AVERROR_INVALIDDATA || this.#decoded === 0)) {
      const reason = this.#decoded === 0 ? indexReason(this.#name, this.#format) : undefined;
      throw unreadable(this.file, reason ?? `reading stopped in the middle (${libavMessage(code)})`);
    }
    const missing = this.#missingSeconds();
    if (code === AVERROR_EOF && missing === 0) return;
    const reason = missing > 0 ? `its last ${missing.toFixed(1)} s are missing` : 'it is damaged from there on';
    if (isAddress) throw unreadable(this.file, `the server sent a part only (${reason})`);
    this.notices.push(`${this.file} is cut off: ${reason}. What is there was upscaled.`);
  }

  /** Against the length in the file's header; formats whose clock may jump have none worth comparing. */
  #missingSeconds(): number {
    const { duration, startTime } = this.#format;
    if (duration <= 0n || clockMayJump(this.#format)) return 0;
    const start = startTime === AV_NOPTS_VALUE ? 0 : Number(startTime) / 1e6;
    // AVI: libav takes the length from the size of the file, the number of pictures stays the header's.
    const counted = this.#format.iformat?.name === 'avi' ? Number(this.video.nbFrames) / this.info.framesPerSecond : 0;
    const missing = start + Math.max(Number(duration) / 1e6, counted) - this.#endSeconds;
    const tolerance = Math.max(2 / this.info.framesPerSecond + 0.02, Number(duration) / 1e8);
    return Number.isFinite(missing) && missing > tolerance ? missing : 0;
  }

  /** @returns undefined for a packet that repeats a time already covered */
  #stretchOf(packet: Packet, stream: Stream): Stretch | undefined {
    const kind = this.#kinds.get(packet.streamIndex) ?? 'other';
    const { num, den } = stream.timeBase;
    const known = packet.dts === AV_NOPTS_VALUE ? (kind === 'video' ? AV_NOPTS_VALUE : packet.pts) : packet.dts;
    const dts = known === AV_NOPTS_VALUE ? undefined : (Number(known) * num) / den;
    let duration = (Number(packet.duration) * num) / den;
    if (duration <= 0 && kind === 'video') duration = 1 / this.info.framesPerSecond;
    if (dts !== undefined) {
      const pts = packet.pts === AV_NOPTS_VALUE ? dts : (Number(packet.pts) * num) / den;
      this.#endSeconds = Math.max(this.#endSeconds, pts + duration);
    }
    const isOther = kind === 'video' && packet.streamIndex !== this.video.index;
    return this.#timeline.place(packet.streamIndex, isOther ? 'other' : kind, { dts, duration });
  }

  /** Sound in front of the start that an edit list cuts off, further than a decoder's priming. */
  #isPreroll(packet: Packet, { timeBase }: Stream): boolean {
    if (!packet.hasFlags(AV_PKT_FLAG_DISCARD) || packet.pts === AV_NOPTS_VALUE) return false;
    return (Number(packet.pts) * timeBase.num) / timeBase.den < -PRIMING_SECONDS;
  }

  async #decode(packet: Packet | null): Promise<PictureItem[]> {
    // An empty packet says that the picture stays (Theora, captures in AVI); to libav it would be the end of the stream.
    if (packet?.size === 0) {
      if (packet.pts !== AV_NOPTS_VALUE) this.#repeatedUntil = packet.pts + packet.duration;
      return [];
    }
    const sent = await this.#decoder.sendPacket(packet);
    if (sent < 0 && sent !== AVERROR_EOF) this.damagedPackets += 1;
    const pictures: PictureItem[] = [];
    for (;;) {
      const frame = new Frame();
      frame.alloc();
      const code = await this.#decoder.receiveFrame(frame);
      if (code < 0) {
        frame.free();
        if (code !== AVERROR_EAGAIN && code !== AVERROR_EOF) this.damagedPackets += 1;
        break;
      }
      this.#decoded += 1;
      frame.pts = this.#ptsOf(frame);
      pictures.push(...(await this.#pictures.push(frame)));
    }
    if (packet === null) pictures.push(...(await this.#pictures.push(null)));
    return pictures;
  }

  /** Presentation time in the stream's time base; always later than the last one's, made up where the file has none. */
  #ptsOf(frame: Frame): bigint {
    const known = frame.bestEffortTimestamp;
    const last = this.#lastPts;
    let pts = known;
    if (known === AV_NOPTS_VALUE) pts = last === undefined ? 0n : last + this.#intervalTicks();
    // A quarter of an interval: the next ones are on time again.
    if (last !== undefined && pts <= last) pts = last + (this.#intervalTicks() + 3n) / 4n;
    this.#lastPts = pts;
    return pts;
  }

  #intervalTicks(): bigint {
    const { timeBase, framesPerSecond } = this.info;
    return BigInt(Math.max(1, Math.round(timeBase.den / (timeBase.num * framesPerSecond))));
  }
}

/** Transport and program streams, FLV, Ogg. */
function clockMayJump({ iformat }: FormatContext): boolean {
  return (Number(iformat?.flags ?? 0) & AVFMT_TS_DISCONT) !== 0;
}

function kindOf(codecType: number): StreamKind {
  if (codecType === AVMEDIA_TYPE_VIDEO) return 'video';
  return codecType === AVMEDIA_TYPE_AUDIO ? 'audio' : 'other';
}

function ticks(seconds: number, { timeBase }: Stream): bigint {
  return BigInt(Math.round((seconds * timeBase.den) / timeBase.num));
}

function shift(packet: Packet, by: bigint): void {
  if (packet.pts !== AV_NOPTS_VALUE) packet.pts += by;
  if (packet.dts !== AV_NOPTS_VALUE) packet.dts += by;
}
