import '../../codec/native.ts';
import { AVMEDIA_TYPE_AUDIO, AV_CHANNEL_ORDER_NATIVE, AV_CODEC_ID_OPUS } from 'node-av/constants';
import { FormatContext, Packet, Rational, type CodecContext } from 'node-av/lib';
import { SoundConverter } from '../../codec/tracks/sound-converter.ts';
import { AppError } from '../../errors.ts';
import { opusHead } from '../../media/opus.ts';
import { AUDIO_CLOCK_HZ } from '../../media/types.ts';

/** A broadcast's Opus packets as AAC, by FFmpeg's own encoder, stereo at 48 kHz. */
export class AacTrack {
  readonly #source = new FormatContext();
  readonly #converter: SoundConverter;

  constructor() {
    // libav describes a decoder's input by a stream, which belongs to a container; this one is never opened.
    this.#source.allocContext();
    const stream = this.#source.newStream(null);
    const { codecpar } = stream;
    codecpar.codecType = AVMEDIA_TYPE_AUDIO;
    codecpar.codecId = AV_CODEC_ID_OPUS;
    codecpar.sampleRate = AUDIO_CLOCK_HZ;
    codecpar.channelLayout = { nbChannels: 2, order: AV_CHANNEL_ORDER_NATIVE, mask: 3n };
    codecpar.extradata = Buffer.from(opusHead());
    stream.timeBase = new Rational(1, AUDIO_CLOCK_HZ);
    const converter = SoundConverter.open(stream, 'aac', { globalHeader: true, steps: true });
    if (converter === undefined) throw new AppError('internal', 'This FFmpeg has no Opus decoder or no AAC encoder.');
    this.#converter = converter;
  }

  /** For codecpar.fromContext(). */
  get encoder(): CodecContext {
    return this.#converter.encoder;
  }

  /** @returns packets with times in 1/48000 s, the caller's to free */
  convert(data: Uint8Array, pts: number, duration: number): Packet[] {
    const packet = new Packet();
    packet.alloc();
    try {
      packet.data = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
      packet.pts = packet.dts = BigInt(pts);
      packet.duration = BigInt(duration);
      return this.#converter.convert(packet).filter(heard);
    } finally {
      packet.free();
    }
  }

  /** What the encoder still holds. */
  finish(): Packet[] {
    return this.#converter.convert(null).filter(heard);
  }

  /** Idempotent. */
  close(): void {
    this.#converter.close();
    this.#source.freeContext();
  }
}

/** The encoder's delay comes as packets in front of the beginning: fragments have no edit list that would hide them. */
function heard(packet: Packet): boolean {
  if (packet.pts >= 0n) return true;
  packet.free();
  return false;
}
