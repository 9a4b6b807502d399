import {
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AV_CODEC_FLAG_LOW_DELAY,
  AV_FRAME_FLAG_CORRUPT,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUVJ420P,
  FF_THREAD_SLICE,
  FF_DECODER_H264,
  FF_DECODER_VP8,
  FF_DECODER_VP9,
  type FFDecoderCodec,
} from 'node-av/constants';
import { Codec, CodecContext, Frame, Packet, Rational } from 'node-av/lib';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import { newTrace } from '../media/steps.ts';
import { VIDEO_CLOCK_HZ, type AccessUnit, type SourceCodec, type Colour } from '../media/types.ts';
import type { FrameTrace } from '../media/steps.ts';
import { WEBRTC_COLOUR, colourOf, sameColour, setFrameColour } from './colour.ts';
import { ColourConverter } from './colour-converter.ts';
import { FramePicture } from './frame-picture.ts';
import { libavMessage } from './native.ts';
import { checkPictureSize, keyframeSize } from './picture-size.ts';

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
};

/**
 * Compressed access units of one publisher to pictures, in process and without delay: a picture comes out of the call
 * that put its unit in (streams with B-frames excepted). Every picture is 4:2:0, 8 bits, BT.601 limited range, whatever
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
  /** Traces of units inside the decoder, by mediaTime; B-frames may keep a few there. */
  readonly #traces = new Map<bigint, FrameTrace>();

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

  /**
   * Pictures that came out, normally one. Hidden VP8/VP9 frames give none.
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
    const pts = BigInt(unit.mediaTime);
    this.#rememberTrace(pts, unit);
    try {
      const size = unit.keyframe ? keyframeSize(this.codec, unit.data) : undefined;
      if (size !== undefined) checkPictureSize(size.width, size.height, this.#options.maxPixels);
      this.#send(unit, pts);
      const pictures = this.#receive();
      this.#awaitingKeyframe = false;
      return pictures;
    } catch (error) {
      this.reset();
      throw error;
    }
  }

  /** Pictures still inside (streams with B-frames), at the end of a stream. The decoder is as new afterwards. */
  flush(): FramePicture[] {
    if (this.#closed || this.#awaitingKeyframe) return [];
    try {
      this.#context.sendPacketSync(null);
      return this.#receive();
    } finally {
      this.reset();
    }
  }

  /** Forgets everything; the next unit must be a keyframe. */
  reset(): void {
    if (this.#closed) return;
    this.#awaitingKeyframe = true;
    this.#traces.clear();
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
    this.#traces.clear();
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
  }

  #receive(): FramePicture[] {
    const pictures: FramePicture[] = [];
    for (;;) {
      const code = this.#context.receiveFrameSync(this.#frame);
      if (code === AVERROR_EAGAIN || code === AVERROR_EOF) return pictures;
      if (code < 0) {
        for (const picture of pictures) picture.release();
        this.#fail(code);
      }
      const picture = this.#take(this.#frame);
      if (picture !== undefined) pictures.push(picture);
    }
  }

  #take(frame: Frame): FramePicture | undefined {
    const { width, height } = frame;
    checkPictureSize(width, height, this.#options.maxPixels);
    if (frame.decodeErrorFlags !== 0 || frame.hasFlags(AV_FRAME_FLAG_CORRUPT)) {
      throw new AppError('media.decode', `A ${this.codec} frame of ${width}x${height} was damaged.`, {
        context: { decodeErrorFlags: frame.decodeErrorFlags },
      });
    }
    const pts = frame.pts;
    const trace = this.#traces.get(pts);
    this.#forgetTracesUpTo(pts);
    if (trace === undefined) return undefined;
    trace.decodedAtUs = monotonicUs();
    const colour = this.#packetColour ?? colourOf(frame);
    const plain = frame.format === AV_PIX_FMT_YUV420P || frame.format === AV_PIX_FMT_YUVJ420P;
    if (plain && sameColour(colour, WEBRTC_COLOUR)) {
      trace.convertedAtUs = trace.decodedAtUs;
      this.#frame = newFrame();
      // Every frame behind the decoder says the same, also where the stream said nothing.
      setFrameColour(frame, colour);
      return new FramePicture(frame, colour, Number(pts), trace);
    }
    return this.#convert(frame, colour, Number(pts), trace);
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

  #rememberTrace(pts: bigint, unit: AccessUnit): void {
    const { receivedAtUs, assembledAtUs } = unit;
    this.#traces.set(pts, newTrace(receivedAtUs, assembledAtUs));
  }

  /** Units that never became a picture (hidden frames) must not pile up. */
  #forgetTracesUpTo(pts: bigint): void {
    for (const key of this.#traces.keys()) {
      if (key <= pts || this.#traces.size > 64) this.#traces.delete(key);
    }
  }
}

function newFrame(): Frame {
  const frame = new Frame();
  frame.alloc();
  return frame;
}
