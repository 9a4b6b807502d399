import {
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AV_CODEC_FLAG_LOW_DELAY,
  AV_FRAME_FLAG_CORRUPT,
  AV_FRAME_FLAG_INTERLACED,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUVJ420P,
  FF_THREAD_SLICE,
  FF_DECODER_H264,
  FF_DECODER_LIBDAV1D,
  FF_DECODER_VP8,
  FF_DECODER_VP9,
  type FFDecoderCodec,
} from 'node-av/constants';
import { Codec, CodecContext, Frame, Packet, Rational } from 'node-av/lib';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import { spsOf } from '../media/h264-slice.ts';
import { newTrace } from '../media/steps.ts';
import { VIDEO_CLOCK_HZ, type AccessUnit, type SourceCodec, type Colour } from '../media/types.ts';
import type { FrameTrace } from '../media/steps.ts';
import { WEBRTC_COLOUR, colourOf, sameColour, setFrameColour } from './colour.ts';
import { ColourConverter } from './colour-converter.ts';
import { FramePicture } from './frame-picture.ts';
import { libavMessage } from './native.ts';
import { checkPictureSize, keyframeSize } from './picture-size.ts';
import { PresentationOrder } from './presentation-order.ts';

export interface DecoderOptions {
  readonly codec: SourceCodec;
  /** Pictures with more pixels than this are refused before memory is taken for them. */
  readonly maxPixels: number;
  /** Slice threads: they add no delay, unlike frame threads. */
  readonly threads?: number;
}

const DECODERS: Readonly<Record<SourceCodec, FFDecoderCodec>> = {
  H264: FF_DECODER_H264,
  VP8: FF_DECODER_VP8,
  VP9: FF_DECODER_VP9,
  AV1: FF_DECODER_LIBDAV1D,
};

/** Without B-frames: what the decoder adds to a picture's way. */
const NO_REORDERING: Reordering = { frames: 0, clock: 'presentation' };
/** A keyframe this long after the unit before it follows a hole: pictures of before it do not wait for what comes after it. */
const HOLE_TICKS = VIDEO_CLOCK_HZ / 4;

export interface Reordering {
  /** Pictures that the decoder holds so that they leave in presentation order; 0: the stream has no B-frames. */
  readonly frames: number;
  /** What the publisher's RTP timestamps are (presentation-order.ts). */
  readonly clock: 'presentation' | 'decoding';
}

/**
 * Compressed access units of one publisher to pictures, in process and without delay: a picture comes out of the call
 * that put its unit in. Streams with B-frames come out in presentation order, which takes as many pictures as the SPS says
 * (max_num_reorder_frames, H.264 section E.2.1) or, where it says nothing, as libavcodec finds to be needed; pictures that come
 * while it is finding out may be lost (`takeLost`). Every picture is 4:2:0, 8 bits, BT.601 limited range, whatever
 * the stream was: converting the small source costs least, and everything behind the decoder meets one colour only.
 *
 * After an error the decoder is as new and refuses everything until a keyframe (`awaitingKeyframe`).
 */
export class Decoder {
  readonly codec: SourceCodec;
  readonly #options: DecoderOptions;
  #context: CodecContext;
  #packet: Packet;
  #frame: Frame;
  #converter: ColourConverter | undefined;
  #awaitingKeyframe = true;
  #packetColour: Colour | undefined;
  #closed = false;
  readonly #order = new PresentationOrder();
  /** H264: units whose picture has not come out. */
  #inside = 0;
  #lost = 0;
  /** Two units may be the fields of one picture. */
  #interlaced = false;
  /** Of the last keyframe that had one. */
  #sps: Buffer | undefined;

  constructor(options: DecoderOptions) {
    this.codec = options.codec;
    this.#options = options;
    this.#packet = new Packet();
    this.#packet.alloc();
    this.#frame = newFrame();
    this.#context = this.#open();
  }

  /** True from the start and after every error, until a keyframe was decoded. */
  get awaitingKeyframe(): boolean {
    return this.#awaitingKeyframe;
  }

  get reordering(): Reordering {
    const frames = this.codec === 'H264' && !this.#closed ? this.#context.hasBFrames : 0;
    return frames === 0 ? NO_REORDERING : { frames, clock: this.#order.clock };
  }

  /** H264: pictures since the last call that will never come out: their place had passed, or the decoder was reset around them. */
  takeLost(): number {
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  /**
   * Pictures that came out, normally one. Hidden frames of VP8 and VP9 give none.
   * @throws AppError media.decode (damaged; ask for a keyframe) | media.unsupported (too large, too small)
   */
  decode(unit: AccessUnit): FramePicture[] {
    if (this.#closed) return [];
    if (this.#awaitingKeyframe && !unit.keyframe) {
      throw new AppError('media.decode', `A ${this.codec} frame came before any keyframe.`, {
        context: { awaitingKeyframe: true },
      });
    }
    // Measured with Chromium 156: canvas pictures are sent as BT.709 full range; H264 says so in its VUI, VP8 only in the
    // header extension this comes from, and without it they would be read as BT.601 limited.
    if (unit.keyframe || unit.colour !== undefined) this.#packetColour = unit.colour;
    const before: FramePicture[] = [];
    let held = this.#inside;
    try {
      const size = unit.keyframe ? keyframeSize(this.codec, unit.data) : undefined;
      if (size !== undefined) checkPictureSize(size.width, size.height, this.#options.maxPixels);
      if (unit.keyframe && this.codec === 'H264' && this.#beginsAgain(unit) && this.reordering.frames > 0) {
        before.push(...this.#leaveBehind());
        held = 0;
      }
      const id = this.#order.enter(unit.mediaTime, newTrace(unit.receivedAtUs, unit.assembledAtUs));
      this.#send(unit, BigInt(id));
      const pictures = this.#receive();
      if (this.codec === 'H264') this.#countLost();
      this.#awaitingKeyframe = false;
      return [...before, ...pictures];
    } catch (error) {
      this.#inside = held + before.length;
      for (const picture of before) picture.release();
      this.reset();
      throw error;
    }
  }

  /** Pictures still inside (streams with B-frames), at the end of a stream. The decoder is as new afterwards. */
  flush(): FramePicture[] {
    if (this.#closed || this.#awaitingKeyframe) return [];
    try {
      this.#context.sendPacketSync(null);
      return this.#receive(true);
    } finally {
      this.reset();
    }
  }

  /** Forgets everything; the next unit must be a keyframe. */
  reset(): void {
    if (this.#closed) return;
    this.#awaitingKeyframe = true;
    this.#order.clear();
    if (this.codec === 'H264' && !this.#interlaced) this.#lost += this.#inside;
    this.#inside = 0;
    this.#interlaced = false;
    // A fresh context rather than flushBuffers(): damaged parameter sets must not outlive the error they caused.
    this.#context.freeContext();
    this.#context = this.#open();
  }

  /** Idempotent. Pictures handed out stay valid. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#context.freeContext();
    this.#packet.free();
    this.#frame.free();
    this.#converter?.close();
    this.#order.clear();
  }

  /**
   * A keyframe of a stream with B-frames that another stream begins with (its SPS differs: size, depth of reordering) or that
   * follows a hole. libavcodec never reduces its depth, and would hand out the pictures of before with those of after.
   */
  #beginsAgain(unit: AccessUnit): boolean {
    const sps = spsOf(unit.data);
    const before = this.#sps;
    if (sps !== undefined) this.#sps = Buffer.from(sps);
    if (sps !== undefined && before !== undefined && !before.equals(sps)) return true;
    return unit.mediaTime - (this.#order.newestStamp ?? unit.mediaTime) > HOLE_TICKS;
  }

  /** What is inside of the stream before; damage there is not the keyframe's. */
  #leaveBehind(): FramePicture[] {
    try {
      return this.flush();
    } catch {
      return [];
    }
  }

  #countLost(): void {
    const excess = this.#inside - this.#context.hasBFrames;
    if (excess <= 0) return;
    this.#inside -= excess;
    if (!this.#interlaced) this.#lost += excess;
  }

  #open(): CodecContext {
    const codec = Codec.findDecoderByName(DECODERS[this.codec]);
    if (codec === null) throw new AppError('internal', `This FFmpeg has no ${this.codec} decoder.`);
    const context = new CodecContext();
    context.allocContext3(codec);
    context.threadCount = this.#options.threads ?? 1;
    context.threadType = FF_THREAD_SLICE;
    context.setFlags(AV_CODEC_FLAG_LOW_DELAY);
    context.pktTimebase = new Rational(1, VIDEO_CLOCK_HZ);
    context.setOption('max_pixels', String(this.#options.maxPixels));
    const code = context.open2Sync(codec, null);
    if (code < 0) throw new AppError('internal', `Opening the ${this.codec} decoder failed: ${libavMessage(code)}`);
    return context;
  }

  #send(unit: AccessUnit, pts: bigint): void {
    const packet = this.#packet;
    packet.unref();
    packet.data = Buffer.from(unit.data.buffer, unit.data.byteOffset, unit.data.byteLength);
    packet.pts = pts;
    packet.dts = pts;
    packet.isKeyframe = unit.keyframe;
    const code = this.#context.sendPacketSync(packet);
    packet.unref();
    if (code < 0) this.#fail(code);
    this.#inside += 1;
  }

  #receive(flush = false): FramePicture[] {
    let flushed = 0;
    const pictures: FramePicture[] = [];
    for (;;) {
      const code = this.#context.receiveFrameSync(this.#frame);
      if (code === AVERROR_EAGAIN || code === AVERROR_EOF) return pictures;
      if (code < 0) {
        for (const picture of pictures) picture.release();
        this.#fail(code);
      }
      if (flush) flushed += 1;
      const picture = this.#take(this.#frame, flushed);
      if (picture !== undefined) pictures.push(picture);
    }
  }

  #take(frame: Frame, flushed: number): FramePicture | undefined {
    const { width, height } = frame;
    checkPictureSize(width, height, this.#options.maxPixels);
    if (frame.decodeErrorFlags !== 0 || frame.hasFlags(AV_FRAME_FLAG_CORRUPT)) {
      throw new AppError('media.decode', `A ${this.codec} frame of ${width}x${height} was damaged.`, {
        context: { decodeErrorFlags: frame.decodeErrorFlags },
      });
    }
    this.#inside -= 1;
    if (frame.hasFlags(AV_FRAME_FLAG_INTERLACED)) this.#interlaced = true;
    const id = Number(frame.pts);
    const placed = this.#order.leave(id, flushed);
    if (this.codec !== 'H264') this.#order.forgetBefore(id);
    if (placed === undefined) return undefined;
    const { mediaTime, trace } = placed;
    trace.decodedAtUs = monotonicUs();
    const colour = this.#packetColour ?? colourOf(frame);
    const plain = frame.format === AV_PIX_FMT_YUV420P || frame.format === AV_PIX_FMT_YUVJ420P;
    if (plain && sameColour(colour, WEBRTC_COLOUR)) {
      trace.convertedAtUs = trace.decodedAtUs;
      this.#frame = newFrame();
      // Every frame behind the decoder says the same, also where the stream said nothing.
      setFrameColour(frame, colour);
      return new FramePicture(frame, colour, mediaTime, trace);
    }
    return this.#convert(frame, colour, mediaTime, trace);
  }

  #convert(frame: Frame, colour: Colour, mediaTime: number, trace: FrameTrace): FramePicture {
    if (this.#converter?.width !== frame.width || this.#converter.height !== frame.height) {
      this.#converter?.close();
      this.#converter = new ColourConverter(frame.width, frame.height, WEBRTC_COLOUR);
    }
    const picture = this.#converter.convert(frame, colour, mediaTime, trace);
    trace.convertedAtUs = monotonicUs();
    frame.unref();
    return picture;
  }

  #fail(code: number): never {
    const { width, height } = this.#context;
    const { maxPixels } = this.#options;
    // libav refuses what is too large without saying so.
    if (width * height > maxPixels) checkPictureSize(width, height, maxPixels);
    throw new AppError('media.decode', `A ${this.codec} frame could not be decoded: ${libavMessage(code)}`, {
      context: { libavCode: code },
    });
  }
}

function newFrame(): Frame {
  const frame = new Frame();
  frame.alloc();
  return frame;
}
