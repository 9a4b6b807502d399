/** The encoders of a call, driven off-line: one thread, fixed speeds, so that neither rates nor pictures depend on the machine's load. */
import {
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AV_PICTURE_TYPE_NONE,
  AV_PIX_FMT_YUV420P,
  FF_ENCODER_LIBSVTAV1,
  FF_ENCODER_LIBVPX_VP8,
  FF_ENCODER_LIBVPX_VP9,
  FF_ENCODER_LIBX264,
  type FFEncoderCodec,
} from 'node-av/constants';
import { Codec, CodecContext, Packet, Rational } from 'node-av/lib';
import { FramePool, frameOf } from '../../server/codec/frame-picture.ts';
import type { Picture } from '../../server/media/picture.ts';
import { VIDEO_CLOCK_HZ, type AccessUnit, type SourceCodec } from '../../server/media/types.ts';

export const CODECS = ['VP8', 'VP9', 'H264', 'AV1'] as const satisfies readonly SourceCodec[];

export interface EncodingSettings {
  codec: SourceCodec;
  width: number;
  height: number;
  framesPerSecond: number;
  bitrateBps: number;
  content: 'camera' | 'screen';
}

/** SVT-AV1 prints its settings otherwise; errors alone are 1. */
process.env['SVT_LOG'] = '1';

const ENCODERS: Record<SourceCodec, FFEncoderCodec> = {
  VP8: FF_ENCODER_LIBVPX_VP8,
  VP9: FF_ENCODER_LIBVPX_VP9,
  H264: FF_ENCODER_LIBX264,
  AV1: FF_ENCODER_LIBSVTAV1,
};

/** As libwebrtc sets libvpx: buffer, bounds, and frames that are dropped when bits are short; negative speeds are fixed. */
const libvpx = (speed: number): Record<string, string> => ({
  deadline: 'realtime',
  'cpu-used': String(speed),
  'lag-in-frames': '0',
  'auto-alt-ref': '0',
  'error-resilient': '1',
  'undershoot-pct': '100',
  'overshoot-pct': '15',
  'drop-threshold': '30',
});

function optionsOf(settings: EncodingSettings): Record<string, string> {
  const screen = settings.content === 'screen';
  switch (settings.codec) {
    case 'VP8':
      return { ...libvpx(-6), 'static-thresh': screen ? '100' : '1', 'screen-content-mode': screen ? '1' : '0' };
    case 'VP9':
      return { ...libvpx(7), 'aq-mode': '3', 'row-mt': '0', 'tune-content': screen ? 'screen' : 'default' };
    case 'H264':
      return { preset: 'veryfast', tune: 'zerolatency', profile: 'baseline', sc_threshold: '0' };
    case 'AV1':
      // Low delay, one temporal layer of pictures that refer back only; scm: tools for screens.
      return { preset: '10', 'svtav1-params': `pred-struct=1:lookahead=0:lp=1:scm=${screen ? 1 : 0}` };
  }
}

/** Half a second of buffer bounds what a keyframe may cost. One keyframe, at the start: others come on demand in a call. */
function open(settings: EncodingSettings): CodecContext {
  const { codec, width, height, framesPerSecond, bitrateBps } = settings;
  const encoder = Codec.findEncoderByName(ENCODERS[codec]);
  if (encoder === null) throw new Error(`this FFmpeg has no encoder for ${codec}`);
  const context = new CodecContext();
  context.allocContext3(encoder);
  context.width = width;
  context.height = height;
  context.pixelFormat = AV_PIX_FMT_YUV420P;
  context.timeBase = new Rational(1, VIDEO_CLOCK_HZ);
  context.framerate = new Rational(framesPerSecond, 1);
  context.gopSize = 3000;
  context.maxBFrames = 0;
  context.threadCount = 1;
  const rate = BigInt(Math.round(bitrateBps));
  context.bitRate = rate;
  context.rcMaxRate = rate;
  context.rcBufferSize = Math.round(bitrateBps / 2);
  if (codec === 'VP8' || codec === 'VP9') {
    context.rcMinRate = rate;
    context.rcBufferSize = Math.round(bitrateBps);
    context.qMin = 2;
    context.qMax = 56;
  }
  for (const [option, value] of Object.entries(optionsOf(settings))) {
    if (context.setOption(option, value) < 0) throw new Error(`${codec}: option ${option}=${value} is refused`);
  }
  if (context.open2Sync(encoder, null) < 0) {
    context.freeContext();
    throw new Error(`${codec} does not open for ${width}x${height} at ${bitrateBps} bit/s`);
  }
  return context;
}

/**
 * Access units of the pictures, with their media times; fewer than pictures where the encoder drops some.
 *
 * @param pictures of the settings' size, in order of their media times; each is released
 * @throws Error when the encoder does not open or fails
 */
export function encode(settings: EncodingSettings, pictures: Iterable<Picture>): AccessUnit[] {
  const { codec, width, height, framesPerSecond } = settings;
  const context = open(settings);
  const pool = new FramePool(width, height);
  const packet = new Packet();
  packet.alloc();
  const units: AccessUnit[] = [];
  const drain = (): void => {
    for (;;) {
      const code = context.receivePacketSync(packet);
      if (code === AVERROR_EAGAIN || code === AVERROR_EOF) return;
      if (code < 0) throw new Error(`${codec} failed with ${code}`);
      const data = new Uint8Array(packet.data ?? Buffer.alloc(0));
      const times = { receivedAtUs: 1, assembledAtUs: 1 };
      units.push({ codec, data, mediaTime: Number(packet.pts), keyframe: packet.isKeyframe, ...times });
      packet.unref();
    }
  };
  try {
    for (const picture of pictures) {
      const { frame, done } = frameOf(picture, () => pool);
      frame.pts = BigInt(picture.mediaTime);
      frame.duration = BigInt(Math.round(VIDEO_CLOCK_HZ / framesPerSecond));
      frame.pictType = AV_PICTURE_TYPE_NONE;
      const code = context.sendFrameSync(frame);
      done();
      picture.release?.();
      if (code < 0) throw new Error(`${codec} refuses a picture with ${code}`);
      drain();
    }
    context.sendFrameSync(null);
    drain();
    return units;
  } finally {
    packet.free();
    context.freeContext();
    pool.close();
  }
}
