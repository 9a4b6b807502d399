import { AV_PIX_FMT_YUV420P, FF_ENCODER_LIBVPX_VP8, FF_ENCODER_LIBX264 } from 'node-av/constants';
import { Codec, CodecContext, Rational } from 'node-av/lib';
import { AppError } from '../errors.ts';
import { VIDEO_CLOCK_HZ, type ResultCodec, type Colour } from '../media/types.ts';
import { libavColour } from './colour.ts';
import { h264LevelFor } from '../media/h264-level.ts';
import { check } from './native.ts';

/** What stays the same while an encoder is open. */
export interface EncoderFormat {
  readonly width: number;
  readonly height: number;
  readonly colour: Colour;
  /** Nominal; pictures carry their own times. Sets the level and the size bound of a keyframe. */
  readonly framesPerSecond: number;
  readonly keyframeIntervalSeconds: number;
  /** Upper bound of a keyframe as a multiple of the average frame. */
  readonly keyframeMaxRatio: number;
  readonly threads?: number;
}

/** Above this one thread does not reliably keep 60 fps on a laptop core; above 1440p two do not. */
const TWO_THREADS_PIXELS = 1408 * 768;
const FOUR_THREADS_PIXELS = 2560 * 1440;
/** x264's superfast (deblocking, better prediction) costs half as much again as ultrafast; up to here it is worth it. */
const SUPERFAST_PIXELS = 1280 * 720;

/**
 * The best quality that is worth bits: a finer quantizer is never taken, so that a still or simple picture costs what it is worth
 * and the rate is a ceiling. Both come to about 45 dB against the result that is encoded (H264's 0..51, VP8's 0..63).
 */
const H264_FINEST_QUANTIZER = 18;
const VP8_FINEST_QUANTIZER = 8;

export function openEncoderContext(codec: ResultCodec, format: EncoderFormat, bitrateBps: number): CodecContext {
  const name = codec === 'H264' ? FF_ENCODER_LIBX264 : FF_ENCODER_LIBVPX_VP8;
  const encoder = Codec.findEncoderByName(name);
  if (encoder === null) throw new AppError('internal', `This FFmpeg has no ${codec} encoder.`);
  const context = new CodecContext();
  context.allocContext3(encoder);
  const { space, range, primaries, transfer } = libavColour(format.colour);
  context.width = format.width;
  context.height = format.height;
  context.pixelFormat = AV_PIX_FMT_YUV420P;
  context.timeBase = new Rational(1, VIDEO_CLOCK_HZ);
  context.framerate = new Rational(Math.round(format.framesPerSecond * 1000), 1000);
  context.gopSize = Math.max(1, Math.round(format.keyframeIntervalSeconds * format.framesPerSecond));
  context.maxBFrames = 0;
  context.threadCount = format.threads ?? threadsFor(format.width * format.height);
  context.colorSpace = space;
  context.colorRange = range;
  context.colorPrimaries = primaries;
  context.colorTrc = transfer;
  const options = codec === 'H264' ? x264Options(context, format, bitrateBps) : vp8Options(context, format, bitrateBps);
  for (const [option, value] of Object.entries(options)) {
    // Not by a Dictionary given to open2Sync: node-av 6.1.1 crashes at the next garbage collection then.
    check(context.setOption(option, value), `Setting ${codec} option ${option}`, 'internal');
  }
  const code = context.open2Sync(encoder, null);
  if (code < 0) context.freeContext();
  check(code, `Opening the ${codec} encoder for ${format.width}x${format.height}`, 'internal');
  return context;
}

/**
 * Rate, and the buffer that bounds a keyframe. x264 takes these over while it runs.
 *
 * @param framesPerSecond what really comes. x264 as FFmpeg drives it counts every picture as 1 / nominal rate, whatever
 *   its time says, so a slower source would get only its share of the rate: the rate is given as x264 counts it.
 */
export function setX264Bitrate(
  context: CodecContext,
  format: EncoderFormat,
  bitrateBps: number,
  framesPerSecond: number = format.framesPerSecond,
): void {
  const bitsPerPicture = bitrateBps / framesPerSecond;
  const rate = BigInt(Math.round(bitsPerPicture * format.framesPerSecond));
  context.bitRate = rate;
  context.rcMaxRate = rate;
  // A picture can never be larger than the decoder's buffer (ITU-T H.264 annex C): the bound of a keyframe.
  context.rcBufferSize = Math.round(bitsPerPicture * format.keyframeMaxRatio);
}

function x264Options(context: CodecContext, format: EncoderFormat, bitrateBps: number): Record<string, string> {
  setX264Bitrate(context, format, bitrateBps);
  context.qMin = H264_FINEST_QUANTIZER;
  const { width, height, framesPerSecond } = format;
  return {
    preset: width * height <= SUPERFAST_PIXELS ? 'superfast' : 'ultrafast',
    tune: 'zerolatency',
    // Baseline without FMO, ASO and redundant slices, which x264 never writes: constrained baseline, what every browser takes.
    profile: 'baseline',
    level: String(h264LevelFor(width, height, framesPerSecond, bitrateBps)),
    'forced-idr': '1',
    // No keyframes at scene changes: they come on demand and by the interval, bounded by the buffer.
    sc_threshold: '0',
  };
}

function vp8Options(context: CodecContext, format: EncoderFormat, bitrateBps: number): Record<string, string> {
  const rate = BigInt(bitrateBps);
  context.bitRate = rate;
  context.rcMinRate = rate;
  context.rcMaxRate = rate;
  context.rcBufferSize = Math.round(bitrateBps * 0.6);
  context.qMin = VP8_FINEST_QUANTIZER;
  context.qMax = 63;
  return {
    deadline: 'realtime',
    'cpu-used': String(vp8Speed(format.width * format.height)),
    'lag-in-frames': '0',
    'auto-alt-ref': '0',
    'static-thresh': '1',
    // Percent of the average frame.
    'max-intra-rate': String(Math.round(format.keyframeMaxRatio * 100)),
    'undershoot-pct': '100',
    'overshoot-pct': '15',
  };
}

function threadsFor(pixels: number): number {
  if (pixels > FOUR_THREADS_PIXELS) return 4;
  return pixels > TWO_THREADS_PIXELS ? 2 : 1;
}

/** libvpx speed: negative is fixed, positive would let it drift with the machine's load. */
function vp8Speed(pixels: number): number {
  if (pixels <= 640 * 360) return -6;
  if (pixels <= 1280 * 720) return -12;
  return -16;
}
