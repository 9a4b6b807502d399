import { AV_CODEC_ID_OPUS } from 'node-av/constants';
import { Codec, type Packet, type Stream } from 'node-av/lib';
import { SoundConverter } from '../../codec/tracks/sound-converter.ts';
import { AUDIO_CLOCK_HZ } from '../../media/types.ts';

export interface OpusPacket {
  /** 1/48000 s. */
  readonly timestamp: number;
  readonly data: Buffer;
}

/** A container's sound as Opus for WebRTC: passed when it is that, transcoded otherwise. */
export interface AudioTrack {
  /** @param packet its times are by the source's one clock; null: the end */
  convert(packet: Packet | null): OpusPacket[];
  close(): void;
}

/** WebRTC's Opus is one stream of at most two channels (RFC 7587). */
const MAX_CHANNELS = 2;

/** @returns a sentence when this FFmpeg cannot decode the sound */
export function openAudioTrack(stream: Stream): AudioTrack | string {
  const { codecId, channelLayout } = stream.codecpar;
  if (codecId === AV_CODEC_ID_OPUS && channelLayout.nbChannels <= MAX_CHANNELS) return new PassedOpus(stream);
  const converter = SoundConverter.open(stream, 'libopus', { maxChannels: MAX_CHANNELS, live: true });
  return converter === undefined
    ? `The source's sound, ${Codec.findDecoder(codecId)?.name ?? `codec ${codecId}`}, cannot be decoded and is left out.`
    : new TranscodedSound(converter);
}

class PassedOpus implements AudioTrack {
  readonly #ticksPerUnit: number;

  constructor({ timeBase }: Stream) {
    this.#ticksPerUnit = (AUDIO_CLOCK_HZ * timeBase.num) / timeBase.den;
  }

  convert(packet: Packet | null): OpusPacket[] {
    if (packet?.data == null) return [];
    return [{ timestamp: Math.round(Number(packet.pts) * this.#ticksPerUnit), data: Buffer.from(packet.data) }];
  }

  close(): void {
    // holds nothing
  }
}

class TranscodedSound implements AudioTrack {
  readonly #converter: SoundConverter;
  readonly #ticksPerUnit: number;

  constructor(converter: SoundConverter) {
    this.#converter = converter;
    const { num, den } = converter.encoder.timeBase;
    this.#ticksPerUnit = (AUDIO_CLOCK_HZ * num) / den;
  }

  convert(packet: Packet | null): OpusPacket[] {
    return this.#converter.convert(packet).map((opus) => {
      const { data, pts } = opus;
      const copy = data === null ? Buffer.alloc(0) : Buffer.from(data);
      opus.free();
      return { timestamp: Math.round(Number(pts) * this.#ticksPerUnit), data: copy };
    });
  }

  close(): void {
    this.#converter.close();
  }
}
