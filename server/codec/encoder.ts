import {
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AV_PICTURE_TYPE_I,
  AV_PICTURE_TYPE_NONE,
  AV_PIX_FMT_YUV420P,
} from 'node-av/constants';
import { Frame, Packet, type CodecContext } from 'node-av/lib';
import { AppError } from '../errors.ts';
import type { MediaTime, ResultCodec } from '../media/types.ts';
import { VIDEO_CLOCK_HZ } from '../media/types.ts';
import { openEncoderContext, setX264Bitrate, type EncoderFormat } from './encoder-context.ts';
import { FrameRateMeter } from './frame-rate.ts';
import { h264LevelFor } from '../media/h264-level.ts';
import { FramePool, frameOf } from './frame-picture.ts';
import { check } from './native.ts';
import type { Picture } from '../media/picture.ts';

export interface EncoderOptions extends EncoderFormat {
  readonly codec: ResultCodec;
  readonly bitrateBps: number;
}

/** One compressed picture. */
export interface EncodedPicture {
  /** Its own memory: may be transferred. H264: Annex B, parameter sets in front of every IDR; VP8: the bare frame. */
  readonly data: Uint8Array<ArrayBuffer>;
  readonly mediaTime: MediaTime;
  readonly keyframe: boolean;
}

/**
 * libvpx cannot change its rate while open (FFmpeg's wrapper ignores it), and a reopening costs a keyframe: smaller
 * changes than this wait, and so do changes shortly after the last one unless the rate must fall far.
 */
const VP8_MIN_CHANGE = 0.1;
const VP8_MIN_INTERVAL_TICKS = 2 * VIDEO_CLOCK_HZ;
const VP8_URGENT_FALL = 0.7;
/** How often, and from what difference on, a change of the frame rate is passed to x264. */
const RATE_CHECK_PICTURES = 10;
const RATE_TOLERANCE = 0.1;

/**
 * Pictures to H264 (x264) or VP8 (libvpx) for live viewers: no B-frames, no look-ahead, one packet out for one picture in,
 * keyframes on demand and bounded in size, the bit rate changeable while it runs.
 *
 * 4:2:0 in H264 needs even sides, so a picture with an odd side loses its last column or row here (`width`, `height` are
 * what is encoded): cropping keeps every remaining sample exact, where padding would show a line that was never filmed.
 */
export class Encoder {
  readonly codec: ResultCodec;
  readonly width: number;
  readonly height: number;
  readonly #options: EncoderOptions;
  readonly #packet: Packet;
  readonly #view: Frame;
  #context: CodecContext;
  #copies: FramePool | undefined;
  #bitrateBps: number;
  #wantedBitrateBps: number;
  readonly #frameRate = new FrameRateMeter();
  /** The rate last passed to the rate control. */
  #framesPerSecond: number;
  /** The nominal rate the open encoder was given: what its level and its counting of time stand for. */
  #nominalFramesPerSecond: number;
  #pictures = 0;
  #openedAt: MediaTime | undefined;
  #lastMediaTime: MediaTime | undefined;
  #closed = false;

  /** @throws AppError internal when the size cannot be encoded */
  constructor(options: EncoderOptions) {
    this.#options = options;
    this.codec = options.codec;
    this.width = options.width & ~1;
    this.height = options.height & ~1;
    if (this.width < 16 || this.height < 16) {
      throw new AppError('internal', `A ${options.width}x${options.height} picture is too small to encode.`);
    }
    this.#bitrateBps = this.#wantedBitrateBps = options.bitrateBps;
    this.#framesPerSecond = this.#nominalFramesPerSecond = options.framesPerSecond;
    this.#packet = new Packet();
    this.#packet.alloc();
    this.#view = new Frame();
    this.#view.alloc();
    this.#context = this.#open();
  }

  get bitrateBps(): number {
    return this.#bitrateBps;
  }

  /** x264 follows within 1-2 s; VP8 is reopened with the next picture, at most every two seconds unless it must fall far. */
  setBitrate(bitrateBps: number): void {
    this.#wantedBitrateBps = bitrateBps;
    if (this.codec !== 'H264' || bitrateBps === this.#bitrateBps) return;
    this.#bitrateBps = bitrateBps;
    setX264Bitrate(this.#context, this.#format(), bitrateBps, this.#framesPerSecond);
  }

  /**
   * @param picture at least as large as the encoder; its mediaTime must be beyond the last one's
   * @throws AppError internal
   */
  encode(picture: Picture, keyframe: boolean): EncodedPicture[] {
    if (this.#closed) return [];
    if (picture.width < this.width || picture.height < this.height) {
      throw new AppError(
        'internal',
        `A ${picture.width}x${picture.height} picture was given to a ${this.width}x${this.height} encoder.`,
      );
    }
    // x264 refuses times that stand still or run back; a publisher's clock may do either.
    if (this.#lastMediaTime !== undefined && picture.mediaTime <= this.#lastMediaTime) return [];
    this.#reopenForBitrate(picture.mediaTime);
    this.#followFrameRate(picture.mediaTime);
    const durationTicks = picture.mediaTime - (this.#lastMediaTime ?? picture.mediaTime);
    this.#lastMediaTime = picture.mediaTime;
    const { frame, done } = frameOf(picture, () => this.#copyPool(picture));
    try {
      this.#send(frame, picture.mediaTime, durationTicks, keyframe);
      return this.#receive();
    } finally {
      this.#view.unref();
      done();
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#context.freeContext();
    this.#packet.free();
    this.#view.free();
    this.#copies?.close();
  }

  #format(): EncoderFormat {
    const framesPerSecond = this.#nominalFramesPerSecond;
    return { ...this.#options, width: this.width, height: this.height, framesPerSecond };
  }

  #open(): CodecContext {
    return openEncoderContext(this.codec, this.#format(), this.#bitrateBps);
  }

  #send(frame: Frame, mediaTime: MediaTime, durationTicks: number, keyframe: boolean): void {
    const view = this.#view;
    // A second reference with its own size and picture type: the frame itself belongs to the picture.
    check(view.ref(frame), 'Referring to a frame', 'internal');
    view.width = this.width;
    view.height = this.height;
    view.pts = BigInt(mediaTime);
    // libvpx spends bits by duration; the last picture's is the best guess of this one's.
    view.duration = BigInt(Math.min(durationTicks, VIDEO_CLOCK_HZ));
    view.pictType = keyframe ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    check(this.#context.sendFrameSync(view), `Encoding ${this.codec}`, 'internal');
  }

  #receive(): EncodedPicture[] {
    const encoded: EncodedPicture[] = [];
    for (;;) {
      const code = this.#context.receivePacketSync(this.#packet);
      if (code === AVERROR_EAGAIN || code === AVERROR_EOF) return encoded;
      check(code, `Encoding ${this.codec}`, 'internal');
      const { data, pts, isKeyframe } = this.#packet;
      // Copied: the buffer points into libav's packet, and the copy can be transferred to the RTP thread.
      if (data !== null) encoded.push({ data: new Uint8Array(data), mediaTime: Number(pts), keyframe: isKeyframe });
      this.#packet.unref();
    }
  }

  #followFrameRate(now: MediaTime): void {
    this.#frameRate.add(now);
    this.#pictures += 1;
    if (this.codec !== 'H264' || this.#pictures % RATE_CHECK_PICTURES !== 0) return;
    const framesPerSecond = this.#frameRate.framesPerSecond(this.#framesPerSecond);
    if (Math.abs(framesPerSecond / this.#framesPerSecond - 1) < RATE_TOLERANCE) return;
    this.#framesPerSecond = framesPerSecond;
    const levelFor = (fps: number): number => h264LevelFor(this.width, this.height, fps, this.#bitrateBps);
    if (levelFor(framesPerSecond) > levelFor(this.#nominalFramesPerSecond)) {
      // 60 fps where 30 were announced: the level in the stream would be a lie, and decoders may refuse it.
      this.#nominalFramesPerSecond = framesPerSecond;
      this.#context.freeContext();
      this.#context = this.#open();
      return;
    }
    setX264Bitrate(this.#context, this.#format(), this.#bitrateBps, framesPerSecond);
  }

  #reopenForBitrate(now: MediaTime): void {
    this.#openedAt ??= now;
    if (this.codec !== 'VP8') return;
    const ratio = this.#wantedBitrateBps / this.#bitrateBps;
    if (Math.abs(ratio - 1) < VP8_MIN_CHANGE) return;
    if (now - this.#openedAt < VP8_MIN_INTERVAL_TICKS && ratio > VP8_URGENT_FALL) return;
    this.#bitrateBps = this.#wantedBitrateBps;
    this.#openedAt = now;
    this.#context.freeContext();
    this.#context = this.#open();
  }

  #copyPool(picture: Picture): FramePool {
    if (this.#copies?.width !== picture.width || this.#copies.height !== picture.height) {
      this.#copies?.close();
      this.#copies = new FramePool(picture.width, picture.height, AV_PIX_FMT_YUV420P, 1);
    }
    return this.#copies;
  }
}
