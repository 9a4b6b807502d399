import '../../codec/native.ts';
import {
  AVFMT_FLAG_FLUSH_PACKETS,
  AVFMT_NOFILE,
  AVMEDIA_TYPE_AUDIO,
  AVMEDIA_TYPE_VIDEO,
  AV_CHANNEL_ORDER_NATIVE,
  AV_CODEC_ID_AV1,
  AV_CODEC_ID_H264,
  AV_CODEC_ID_OPUS,
  AV_CODEC_ID_VP8,
  AV_CODEC_ID_VP9,
  type AVCodecID,
} from 'node-av/constants';
import { Dictionary, FormatContext, Packet, Rational, type Stream } from 'node-av/lib';
import { AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, type SourceCodec } from '../../media/types.ts';
import { opusHead } from '../../media/opus.ts';
import { AacTrack } from './aac-track.ts';
import type { AudioForm } from './messages.ts';

export interface VideoParameters {
  readonly codec: SourceCodec;
  readonly width: number;
  readonly height: number;
  /** H264: SPS and PPS with start codes; AV1: the sequence header. */
  readonly parameterSets: Uint8Array | undefined;
}

export interface ContainerOptions {
  readonly muxer: string;
  readonly url: string;
  /** The muxer's own, and the format's. */
  readonly options: Readonly<Record<string, string>>;
  readonly video: VideoParameters;
  readonly audio: AudioForm | undefined;
  /** A connection stays open this long after the trailer. */
  readonly lingerMs?: number;
}

/** libav's code, and which step it came from. */
export class MuxError extends Error {
  readonly code: number;
  readonly step: 'open' | 'header' | 'write' | 'trailer';
  constructor(step: MuxError['step'], code: number) {
    super(`${step}: ${code}`);
    this.step = step;
    this.code = code;
  }
}

const CODEC_IDS: Readonly<Record<SourceCodec, AVCodecID>> = {
  H264: AV_CODEC_ID_H264,
  VP8: AV_CODEC_ID_VP8,
  VP9: AV_CODEC_ID_VP9,
  AV1: AV_CODEC_ID_AV1,
};
const STEREO = { nbChannels: 2, order: AV_CHANNEL_ORDER_NATIVE, mask: 3n };
/** A track without packets holds the other one back this long. */
const INTERLEAVE_US = 500_000n;

/**
 * One container: a file or a connection, with a video track and perhaps a sound track. Every call blocks until libav has written,
 * so it runs in a process of its own. Times count from the container's beginning and may not run backwards within a track.
 */
export class ContainerWriter {
  /** Payload, without the container's own bytes. */
  bytes = 0;
  readonly #format = new FormatContext();
  readonly #video: Stream;
  readonly #audio: Stream | undefined;
  readonly #aac: AacTrack | undefined;
  readonly #packet = new Packet();
  readonly #lingerMs: number;
  #closed = false;

  /** @throws MuxError */
  constructor({ muxer, url, options, video, audio, lingerMs = 0 }: ContainerOptions) {
    this.#packet.alloc();
    this.#lingerMs = lingerMs;
    this.#aac = audio === 'aac' ? new AacTrack() : undefined;
    try {
      this.#check('open', this.#format.allocOutputContext2(null, muxer, url));
      this.#format.maxInterleaveDelta = INTERLEAVE_US;
      this.#format.setFlags(AVFMT_FLAG_FLUSH_PACKETS);
      this.#video = this.#addVideo(video);
      this.#audio = audio === undefined ? undefined : this.#addAudio();
      if (this.#format.oformat?.hasFlags(AVFMT_NOFILE) !== true) this.#check('open', this.#format.openOutputSync());
      const dictionary = Dictionary.fromObject(options);
      const written = this.#format.writeHeaderSync(dictionary);
      dictionary.free();
      this.#check('header', written);
    } catch (error) {
      this.#free();
      throw error;
    }
  }

  get hasAudio(): boolean {
    return this.#audio !== undefined;
  }

  /** @param pts, dts, duration 1/90000 s. @throws MuxError */
  writeVideo(
    data: Uint8Array,
    times: { readonly pts: number; readonly dts: number; readonly duration: number },
    keyframe: boolean,
  ): void {
    const packet = this.#packet;
    packet.data = asBuffer(data);
    packet.pts = BigInt(times.pts);
    packet.dts = BigInt(times.dts);
    packet.duration = BigInt(times.duration);
    packet.isKeyframe = keyframe;
    this.#put(packet, this.#video, VIDEO_CLOCK_HZ, data.length);
  }

  /** @param data an Opus packet; pts and duration in 1/48000 s. @throws MuxError */
  writeAudio(data: Uint8Array, pts: number, duration: number): void {
    const stream = this.#audio;
    if (stream === undefined) return;
    if (this.#aac !== undefined) {
      this.#putAll(this.#aac.convert(data, pts, duration), stream);
      return;
    }
    const packet = this.#packet;
    packet.data = asBuffer(data);
    packet.pts = packet.dts = BigInt(pts);
    packet.duration = BigInt(duration);
    packet.isKeyframe = true;
    this.#put(packet, stream, AUDIO_CLOCK_HZ, data.length);
  }

  /** Completes the container. Idempotent. @throws MuxError; everything is freed all the same */
  close(): void {
    if (this.#closed) return;
    try {
      if (this.#audio !== undefined && this.#aac !== undefined) this.#putAll(this.#aac.finish(), this.#audio);
      this.#check('trailer', this.#format.writeTrailerSync());
      if (this.#lingerMs > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, this.#lingerMs);
    } finally {
      this.#free();
    }
  }

  /** After an error: what is written stays as it is. Idempotent. */
  abandon(): void {
    this.#free();
  }

  #addVideo({ codec, width, height, parameterSets }: VideoParameters): Stream {
    const stream = this.#format.newStream(null);
    const { codecpar } = stream;
    codecpar.codecType = AVMEDIA_TYPE_VIDEO;
    codecpar.codecId = CODEC_IDS[codec];
    codecpar.width = width;
    codecpar.height = height;
    if (parameterSets !== undefined) codecpar.extradata = asBuffer(parameterSets);
    stream.timeBase = new Rational(1, VIDEO_CLOCK_HZ);
    return stream;
  }

  #addAudio(): Stream {
    const stream = this.#format.newStream(null);
    if (this.#aac !== undefined) stream.codecpar.fromContext(this.#aac.encoder);
    else {
      const { codecpar } = stream;
      codecpar.codecType = AVMEDIA_TYPE_AUDIO;
      codecpar.codecId = AV_CODEC_ID_OPUS;
      codecpar.sampleRate = AUDIO_CLOCK_HZ;
      codecpar.channelLayout = STEREO;
      codecpar.extradata = asBuffer(opusHead());
    }
    stream.timeBase = new Rational(1, AUDIO_CLOCK_HZ);
    return stream;
  }

  #putAll(packets: readonly Packet[], stream: Stream): void {
    try {
      for (const packet of packets) this.#put(packet, stream, AUDIO_CLOCK_HZ, packet.size);
    } finally {
      for (const packet of packets) packet.free();
    }
  }

  #put(packet: Packet, stream: Stream, clockHz: number, bytes: number): void {
    packet.rescaleTs(new Rational(1, clockHz), stream.timeBase);
    packet.streamIndex = stream.index;
    packet.pos = -1n;
    const code = this.#format.interleavedWriteFrameSync(packet);
    this.bytes += bytes;
    packet.unref();
    this.#check('write', code);
  }

  #check(step: MuxError['step'], code: number): void {
    if (code < 0) throw new MuxError(step, code);
  }

  #free(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#aac?.close();
    this.#packet.free();
    this.#format.closeOutputSync();
    this.#format.freeContext();
  }
}

/** A view: the muxer copies. */
function asBuffer(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
