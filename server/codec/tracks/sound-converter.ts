import {
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AV_CHANNEL_ORDER_NATIVE,
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_NOPTS_VALUE,
  AV_SAMPLE_FMT_S16,
  AV_SAMPLE_FMT_S32,
  type AVSampleFormat,
} from 'node-av/constants';
import {
  AudioFifo,
  Codec,
  CodecContext,
  Frame,
  Packet,
  Rational,
  SoftwareResampleContext,
  type Stream,
} from 'node-av/lib';
import { AppError } from '../../errors.ts';
import { check } from '../native.ts';
import { allowedSoundDecoder } from '../untrusted.ts';

/** Samples a frame of encoders that take any number. */
const PCM_FRAME_SAMPLES = 1024;
/** A step of the sound's clock beyond this is silence to be filled; below, the jitter of a container's clock. */
const GAP_SECONDS = 0.08;
/** More than this is no gap of a recording but another clock. */
export const LONGEST_SILENCE_SECONDS = 60;

/** What the sound becomes. */
export type SoundTarget = 'aac' | 'libopus' | 'flac' | 'pcm_s16le' | 'pcm_s24le';

export interface SoundOptions {
  readonly globalHeader?: boolean;
  readonly maxChannels?: number;
  readonly live?: boolean;
  readonly steps?: boolean;
}

/**
 * Sound that a container does not take as it is: decoded, brought to one rate, layout and sample format, and encoded. Parameters that
 * change in the middle are resampled to the first ones.
 */
export class SoundConverter {
  /** For the new stream: codecpar.fromContext(). */
  readonly encoder: CodecContext;
  /** Packets the decoder could not use. */
  damagedPackets = 0;
  readonly #decoder: CodecContext;
  readonly #fifo = new AudioFifo();
  readonly #frameSamples: number;
  readonly #channels: number;
  #resampler: SoftwareResampleContext | undefined;
  #resamplesFrom = '';
  /** Samples given to the encoder; with #startSamples the clock of the result. */
  #samples = 0;
  #startSamples: number | undefined;
  /** Samples put into the fifo. */
  #filled = 0;
  readonly #from: Stream;
  readonly #live: boolean;
  readonly #steps: boolean;

  private constructor(from: Stream, decoder: CodecContext, encoder: CodecContext, { live, steps }: SoundOptions) {
    this.#from = from;
    this.#live = live ?? false;
    this.#steps = steps ?? false;
    this.#decoder = decoder;
    this.encoder = encoder;
    this.#channels = encoder.channelLayout.nbChannels;
    this.#frameSamples = encoder.frameSize > 0 ? encoder.frameSize : PCM_FRAME_SAMPLES;
    this.#fifo.alloc(encoder.sampleFormat, this.#channels, 4 * this.#frameSamples);
  }

  /**
   * @param options globalHeader: parameters stand in the container, not in the packets; maxChannels: more are mixed down;
   *   live: sound that comes too fast for its clock is left out, so that it never falls behind; steps: its clock is right, so that
   *   a pause too long to be filled stays one
   * @returns undefined where this FFmpeg cannot decode the sound, or is not allowed to
   */
  static open(from: Stream, target: SoundTarget, options: SoundOptions): SoundConverter | undefined {
    const { globalHeader = false, maxChannels = Infinity } = options;
    const { codecId, sampleRate, channelLayout } = from.codecpar;
    const decoderCodec = Codec.findDecoder(codecId);
    const encoderCodec = Codec.findEncoderByName(target as never);
    if (decoderCodec === null || encoderCodec === null || !allowedSoundDecoder(decoderCodec.name)) return undefined;
    const decoder = new CodecContext();
    decoder.allocContext3(decoderCodec);
    decoder.parametersToContext(from.codecpar);
    decoder.pktTimebase = from.timeBase;
    if (decoder.open2Sync(decoderCodec, null) < 0) {
      decoder.freeContext();
      return undefined;
    }
    const encoder = new CodecContext();
    encoder.allocContext3(encoderCodec);
    encoder.sampleFormat = sampleFormatOf(encoderCodec, target, decoder.sampleFormat);
    encoder.sampleRate = rateOf(encoderCodec, sampleRate);
    encoder.channelLayout = atMost(maxChannels, layoutOf(channelLayout));
    encoder.timeBase = new Rational(1, encoder.sampleRate);
    const channels = encoder.channelLayout.nbChannels;
    if (target === 'aac' || target === 'libopus') encoder.bitRate = BigInt(64_000 * Math.max(2, channels) + 32_000);
    if (globalHeader) encoder.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER);
    if (encoder.open2Sync(encoderCodec, null) < 0) {
      encoder.freeContext();
      decoder.freeContext();
      return undefined;
    }
    return new SoundConverter(from, decoder, encoder, options);
  }

  /** @param packet null: the end @returns packets by the encoder's time base, the caller's to free */
  convert(packet: Packet | null): Packet[] {
    if (this.#decoder.sendPacketSync(packet) < 0 && packet !== null) this.damagedPackets += 1;
    const frame = new Frame();
    frame.alloc();
    const packets: Packet[] = [];
    try {
      for (;;) {
        const code = this.#decoder.receiveFrameSync(frame);
        if (code === AVERROR_EAGAIN || code === AVERROR_EOF) break;
        if (code < 0) {
          this.damagedPackets += 1;
          break;
        }
        this.#take(frame);
        frame.unref();
        this.#encode(packets, false);
      }
    } finally {
      frame.free();
    }
    if (packet === null) {
      this.#flushResampler();
      this.#encode(packets, true);
      this.encoder.sendFrameSync(null);
      this.#receive(packets);
    }
    return packets;
  }

  /** Idempotent. */
  close(): void {
    this.#decoder.freeContext();
    this.encoder.freeContext();
    this.#resampler?.free();
    this.#resampler = undefined;
    this.#fifo.free();
  }

  #take(frame: Frame): void {
    if (frame.nbSamples === 0) return;
    const missing = this.#missingBefore(frame);
    if (this.#live && missing < -GAP_SECONDS * this.encoder.sampleRate) return;
    this.#fillGap(missing);
    const out = this.#resample(frame);
    if (out === undefined) return;
    this.#put(out);
    out.free();
  }

  /** Samples between what has been queued and this frame, by the source's clock; negative: it comes too early. */
  #missingBefore(frame: Frame): number {
    const { bestEffortTimestamp } = frame;
    const { num, den } = this.#from.timeBase;
    if (bestEffortTimestamp === AV_NOPTS_VALUE) {
      this.#startSamples ??= 0;
      return 0;
    }
    const at = Math.round((Number(bestEffortTimestamp) * num * this.encoder.sampleRate) / den);
    this.#startSamples ??= at;
    return at - this.#startSamples - this.#filled;
  }

  /** Silence where the sound's clock steps ahead, so that sound stays with the pictures. */
  #fillGap(missing: number): void {
    const { sampleRate } = this.encoder;
    if (missing < GAP_SECONDS * sampleRate) return;
    if (missing <= LONGEST_SILENCE_SECONDS * sampleRate) this.#silence(missing);
    else if (this.#steps) this.#startSamples = (this.#startSamples ?? 0) + missing;
  }

  #silence(samples: number): void {
    for (let left = samples; left > 0; left -= this.#frameSamples) {
      const frame = this.#newFrame(Math.min(left, this.#frameSamples));
      for (const plane of frame.data ?? []) plane.fill(0);
      this.#put(frame);
      frame.free();
    }
  }

  #put(frame: Frame): void {
    const planes = frame.data;
    if (planes === null) throw new AppError('internal', 'A sound frame without data.');
    check(this.#fifo.writeSync(planes, frame.nbSamples), 'Queueing sound', 'internal');
    this.#filled += frame.nbSamples;
  }

  #resample(frame: Frame): Frame | undefined {
    const { sampleRate, channelLayout } = frame;
    const from = `${frame.format} ${sampleRate} ${channelLayout.nbChannels} ${channelLayout.mask}`;
    if (this.#resampler === undefined || from !== this.#resamplesFrom) {
      this.#flushResampler();
      this.#resampler?.free();
      this.#resampler = new SoftwareResampleContext();
      this.#resamplesFrom = from;
      const to = this.encoder;
      const code = this.#resampler.allocSetOpts2(
        to.channelLayout,
        to.sampleFormat,
        to.sampleRate,
        layoutOf(channelLayout),
        frame.format as AVSampleFormat,
        sampleRate,
      );
      check(code, 'Preparing to resample sound', 'internal');
      check(this.#resampler.init(), 'Preparing to resample sound', 'internal');
    }
    return this.#runResampler(frame.data, frame.nbSamples);
  }

  #flushResampler(): void {
    if (this.#resampler === undefined) return;
    const rest = this.#runResampler(null, 0);
    if (rest === undefined) return;
    this.#put(rest);
    rest.free();
  }

  #runResampler(data: Buffer[] | null, samples: number): Frame | undefined {
    const resampler = this.#resampler;
    const room = resampler?.getOutSamples(samples) ?? 0;
    if (resampler === undefined || room <= 0) return undefined;
    const out = this.#newFrame(room);
    const made = resampler.convertSync(out.data, room, data, samples);
    if (made <= 0) {
      out.free();
      return undefined;
    }
    out.nbSamples = made;
    return out;
  }

  #encode(packets: Packet[], all: boolean): void {
    while (this.#fifo.size >= this.#frameSamples || (all && this.#fifo.size > 0)) {
      const samples = Math.min(this.#fifo.size, this.#frameSamples);
      const frame = this.#newFrame(samples);
      check(this.#fifo.readSync(frame.data ?? [], samples), 'Reading queued sound', 'internal');
      frame.pts = BigInt((this.#startSamples ?? 0) + this.#samples);
      this.#samples += samples;
      check(this.encoder.sendFrameSync(frame), 'Encoding sound', 'internal');
      frame.free();
      this.#receive(packets);
    }
  }

  #receive(packets: Packet[]): void {
    for (;;) {
      const packet = new Packet();
      packet.alloc();
      if (this.encoder.receivePacketSync(packet) < 0) {
        packet.free();
        return;
      }
      packets.push(packet);
    }
  }

  #newFrame(samples: number): Frame {
    const frame = new Frame();
    frame.alloc();
    frame.format = this.encoder.sampleFormat;
    frame.sampleRate = this.encoder.sampleRate;
    frame.channelLayout = this.encoder.channelLayout;
    frame.nbSamples = samples;
    check(frame.getBuffer(), 'Allocating sound', 'engine.memory');
    return frame;
  }
}

/** For PCM: 24 bits where the source has more than 16. */
export function pcmTarget(from: Stream): SoundTarget {
  const { bitsPerRawSample, bitsPerCodedSample } = from.codecpar;
  return Math.max(bitsPerRawSample, bitsPerCodedSample) > 16 ? 'pcm_s24le' : 'pcm_s16le';
}

function sampleFormatOf(encoder: Codec, target: SoundTarget, source: AVSampleFormat): AVSampleFormat {
  if (target === 'pcm_s16le') return AV_SAMPLE_FMT_S16;
  if (target === 'pcm_s24le') return AV_SAMPLE_FMT_S32;
  const taken = encoder.sampleFormats ?? [];
  return taken.includes(source) ? source : (taken[0] ?? AV_SAMPLE_FMT_S16);
}

function rateOf(encoder: Codec, rate: number): number {
  const taken = encoder.supportedSamplerates ?? [];
  if (taken.length === 0 || taken.includes(rate)) return rate;
  const larger = taken.filter((candidate) => candidate >= rate);
  return larger.length > 0 ? Math.min(...larger) : Math.max(...taken);
}

type ChannelLayout = CodecContext['channelLayout'];

/** Masks of libav for 1 to 8 channels where a file names none. */
const USUAL_MASKS = [0x4n, 0x3n, 0x7n, 0x107n, 0x37n, 0x3fn, 0x70fn, 0x63fn];

function atMost(channels: number, layout: ChannelLayout): ChannelLayout {
  if (layout.nbChannels <= channels) return layout;
  return { nbChannels: channels, order: AV_CHANNEL_ORDER_NATIVE, mask: USUAL_MASKS[channels - 1] ?? 0n };
}

function layoutOf(layout: ChannelLayout): ChannelLayout {
  if (layout.mask !== 0n) return layout;
  return {
    nbChannels: layout.nbChannels,
    order: AV_CHANNEL_ORDER_NATIVE,
    mask: USUAL_MASKS[layout.nbChannels - 1] ?? 0n,
  };
}
