import {
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AV_CODEC_ID_AV1,
  AV_CODEC_ID_H264,
  AV_CODEC_ID_VP8,
  AV_CODEC_ID_VP9,
} from 'node-av/constants';
import { BitStreamFilter, BitStreamFilterContext, Codec, Packet, type Stream } from 'node-av/lib';
import { libavMessage } from '../../codec/native.ts';
import { allowedDecoder } from '../../codec/untrusted.ts';
import { AppError } from '../../errors.ts';
import { splitAnnexB } from '../../media/h264.ts';
import type { SourceCodec } from '../../media/types.ts';
import type { CodedPicture, VideoTrack } from './coded-picture.ts';
import { TranscodedTrack } from './transcoded-track.ts';

const PASSED: ReadonlyMap<number, SourceCodec> = new Map<number, SourceCodec>([
  [AV_CODEC_ID_H264, 'H264'],
  [AV_CODEC_ID_VP8, 'VP8'],
  [AV_CODEC_ID_VP9, 'VP9'],
  [AV_CODEC_ID_AV1, 'AV1'],
]);

/** @throws AppError media.unsupported with the codec's name */
export function openVideoTrack(stream: Stream, maxPixels: number): VideoTrack {
  const { codecId, extradata } = stream.codecpar;
  const codec = PASSED.get(codecId);
  if (codec === undefined) {
    const decoder = Codec.findDecoder(codecId);
    const name = decoder?.name ?? `codec ${codecId}`;
    if (decoder !== null && allowedDecoder(name)) return new TranscodedTrack(stream, decoder, maxPixels);
    throw new AppError('media.unsupported', `The source's video, ${name}, is not one of the codecs that are taken.`, {
      context: { codec: name },
      remedy: 'See docs/pull-sources.md for the codecs.',
    });
  }
  if (codec !== 'H264') return new PassedTrack(codec);
  // ISO 14496-15: configurationVersion is 1; Annex B begins with a start code.
  return extradata?.[0] === 1 ? new AvccTrack(stream) : new AnnexBTrack(extradata);
}

class PassedTrack implements VideoTrack {
  readonly #codec: SourceCodec;

  constructor(codec: SourceCodec) {
    this.#codec = codec;
  }

  convert({ data, isKeyframe }: Packet): CodedPicture[] {
    return data === null ? [] : [{ codec: this.#codec, data: Buffer.from(data), keyframe: isKeyframe }];
  }

  end(): CodedPicture[] {
    return [];
  }

  close(): void {
    // holds nothing
  }
}

/** H264 of MPEG-TS and RTSP. Parameter sets that only the SDP has are put in front of keyframes. */
class AnnexBTrack implements VideoTrack {
  readonly #parameterSets: Buffer | undefined;

  constructor(extradata: Buffer | null) {
    this.#parameterSets = extradata === null || extradata.length === 0 ? undefined : Buffer.from(extradata);
  }

  convert({ data, isKeyframe }: Packet): CodedPicture[] {
    if (data === null) return [];
    const bare = isKeyframe && this.#parameterSets !== undefined && !hasSps(data);
    const whole = bare ? Buffer.concat([this.#parameterSets, data]) : Buffer.from(data);
    return [{ codec: 'H264', data: whole, keyframe: isKeyframe }];
  }

  end(): CodedPicture[] {
    return [];
  }

  close(): void {
    // holds nothing
  }
}

/** H264 of MP4, Matroska and FLV: lengths instead of start codes, parameter sets beside the stream. */
class AvccTrack implements VideoTrack {
  readonly #filter = new BitStreamFilterContext();
  readonly #out = new Packet();

  constructor(stream: Stream) {
    const filter = BitStreamFilter.getByName('h264_mp4toannexb');
    if (filter === null) throw new AppError('internal', 'This FFmpeg has no h264_mp4toannexb.');
    this.#filter.alloc(filter);
    const parameters = this.#filter.inputCodecParameters;
    if (parameters !== null) stream.codecpar.copy(parameters);
    this.#filter.inputTimeBase = stream.timeBase;
    const code = this.#filter.init();
    if (code < 0) throw new AppError('target.answer', `The source's H264 header is damaged (${libavMessage(code)}).`);
    this.#out.alloc();
  }

  convert(packet: Packet): CodedPicture[] {
    const { isKeyframe } = packet;
    // The filter takes the packet's content over.
    const pictures: CodedPicture[] = [];
    if (this.#filter.sendPacketSync(packet) < 0) return pictures;
    for (;;) {
      const code = this.#filter.receivePacketSync(this.#out);
      if (code === AVERROR_EAGAIN || code === AVERROR_EOF || code < 0) return pictures;
      const { data } = this.#out;
      if (data !== null) pictures.push({ codec: 'H264', data: Buffer.from(data), keyframe: isKeyframe });
      this.#out.unref();
    }
  }

  /** The filter gives every packet at once. */
  end(): CodedPicture[] {
    return [];
  }

  close(): void {
    this.#filter.free();
    this.#out.free();
  }
}

function hasSps(data: Buffer): boolean {
  return splitAnnexB(data).some((unit) => ((unit[0] ?? 0) & 0x1f) === 7);
}
