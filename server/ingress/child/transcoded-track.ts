import { AV_NOPTS_VALUE } from 'node-av/constants';
import { CodecContext, Frame, type Codec, type Packet, type Stream } from 'node-av/lib';
import { ColourConverter } from '../../codec/colour-converter.ts';
import { WEBRTC_COLOUR, colourOf } from '../../codec/colour.ts';
import { Encoder } from '../../codec/encoder.ts';
import { libavMessage } from '../../codec/native.ts';
import { boundDecoder } from '../../codec/untrusted.ts';
import { AppError } from '../../errors.ts';
import { newTrace } from '../../media/steps.ts';
import { VIDEO_CLOCK_HZ } from '../../media/types.ts';
import type { CodedPicture, VideoTrack } from './coded-picture.ts';

/** Enough that the second encoding does not show: a source is small. */
const BITS_PER_PIXEL = 0.25;
const LEAST_BPS = 1_000_000;
const KEYFRAME_SECONDS = 2;
const KEYFRAME_MAX_RATIO = 12;
const DEFAULT_FRAMES_PER_SECOND = 30;
const THREADS = 2;

/** Video in a codec that the pipeline does not decode (HEVC, MPEG-2, ...): decoded here and encoded as H264, in presentation order. */
export class TranscodedTrack implements VideoTrack {
  readonly #decoder = new CodecContext();
  readonly #frame = new Frame();
  readonly #maxPixels: number;
  readonly #ticksPerUnit: number;
  readonly #framesPerSecond: number;
  #converter: ColourConverter | undefined;
  #encoder: Encoder | undefined;

  /** @throws AppError media.unsupported */
  constructor(stream: Stream, codec: Codec, maxPixels: number) {
    const { num, den } = stream.timeBase;
    this.#ticksPerUnit = (VIDEO_CLOCK_HZ * num) / den;
    const rate = stream.avgFrameRate;
    const framesPerSecond = rate.den > 0 ? rate.num / rate.den : 0;
    this.#framesPerSecond = framesPerSecond > 0 && framesPerSecond <= 240 ? framesPerSecond : DEFAULT_FRAMES_PER_SECOND;
    this.#maxPixels = maxPixels;
    this.#frame.alloc();
    this.#decoder.allocContext3(codec);
    this.#decoder.parametersToContext(stream.codecpar);
    this.#decoder.pktTimebase = stream.timeBase;
    boundDecoder(this.#decoder, THREADS);
    const code = this.#decoder.open2Sync(codec, null);
    if (code < 0) {
      this.close();
      throw new AppError(
        'media.unsupported',
        `The decoder of the source's video does not open (${libavMessage(code)}).`,
      );
    }
  }

  convert(packet: Packet): CodedPicture[] {
    return this.#decode(packet);
  }

  end(): CodedPicture[] {
    return this.#decode(null);
  }

  #decode(packet: Packet | null): CodedPicture[] {
    // A damaged packet gives no picture, and the next keyframe mends the rest.
    this.#decoder.sendPacketSync(packet);
    const pictures: CodedPicture[] = [];
    while (this.#decoder.receiveFrameSync(this.#frame) >= 0) {
      pictures.push(...this.#encode(this.#frame));
      this.#frame.unref();
    }
    return pictures;
  }

  /** Idempotent. */
  close(): void {
    this.#decoder.freeContext();
    this.#frame.free();
    this.#converter?.close();
    this.#encoder?.close();
    [this.#converter, this.#encoder] = [undefined, undefined];
  }

  #encode(frame: Frame): CodedPicture[] {
    const { width, height, bestEffortTimestamp } = frame;
    if (bestEffortTimestamp === AV_NOPTS_VALUE) return [];
    if (width * height > this.#maxPixels || width < 16 || height < 16) {
      throw new AppError('media.unsupported', `The source's pictures are ${width}x${height}, which is not taken.`);
    }
    if (this.#converter?.width !== width || this.#converter.height !== height) this.#open(width, height);
    const mediaTime = Math.round(Number(bestEffortTimestamp) * this.#ticksPerUnit);
    const picture = this.#converter?.convert(frame, colourOf(frame), mediaTime, newTrace(0, 0));
    if (picture === undefined) return [];
    try {
      return (this.#encoder?.encode(picture, false) ?? []).map(({ data, mediaTime: timestamp, keyframe }) => ({
        ...{ codec: 'H264' as const, data: Buffer.from(data), keyframe },
        timestamp,
      }));
    } finally {
      picture.release();
    }
  }

  #open(width: number, height: number): void {
    this.#converter?.close();
    this.#encoder?.close();
    this.#converter = new ColourConverter(width, height, WEBRTC_COLOUR);
    const framesPerSecond = this.#framesPerSecond;
    this.#encoder = new Encoder({
      ...{ codec: 'H264', width, height, colour: WEBRTC_COLOUR, framesPerSecond },
      bitrateBps: Math.max(LEAST_BPS, Math.round(width * height * framesPerSecond * BITS_PER_PIXEL)),
      ...{ keyframeIntervalSeconds: KEYFRAME_SECONDS, keyframeMaxRatio: KEYFRAME_MAX_RATIO },
    });
  }
}
