import { AVERROR_EAGAIN, AVERROR_EOF, AV_PIX_FMT_YUV420P, FF_ENCODER_LIBX264 } from 'node-av/constants';
import { Codec, CodecContext, Frame, Packet, Rational } from 'node-av/lib';
import { NAL_SPS } from '../server/media/h264-parameter-sets.ts';
import { splitAnnexB } from '../server/media/h264.ts';
import { VIDEO_CLOCK_HZ } from '../server/media/types.ts';
import { makePicture, movingBar } from './pictures.ts';

/** One access unit in decoding order. */
export interface BFrameUnit {
  readonly data: Uint8Array;
  readonly keyframe: boolean;
  /** What the picture shows: its number in presentation order, from 0. */
  readonly number: number;
  /** Presentation and decoding time, 1/90000 s; the decoding time of the first units is negative, as x264 gives it. */
  readonly pts: number;
  readonly dts: number;
  /** No other picture refers to it (nal_ref_idc 0). */
  readonly disposable: boolean;
}

export interface BFrameOptions {
  readonly width?: number;
  readonly height?: number;
  readonly frames: number;
  readonly bFrames: number;
  /** B-frames that other B-frames refer to. */
  readonly pyramid?: boolean;
  readonly profile?: 'main' | 'high';
  readonly framesPerSecond?: number;
  readonly keyframeEvery?: number;
  /** Presentation time of the first picture. */
  readonly firstPts?: number;
}

/** H264 with B-frames in a fixed pattern, as OBS makes it when x264's B-frames are not switched off: closed GOPs, sets in front. */
export function makeBFrames(options: BFrameOptions): BFrameUnit[] {
  const { width = 160, height = 96, frames, framesPerSecond = 30, firstPts = 0 } = options;
  const context = open(options, width, height, framesPerSecond);
  const frame = new Frame();
  frame.alloc();
  const packet = new Packet();
  packet.alloc();
  const units: BFrameUnit[] = [];
  const step = VIDEO_CLOCK_HZ / framesPerSecond;
  const receive = () => {
    for (;;) {
      const code = context.receivePacketSync(packet);
      if (code === AVERROR_EAGAIN || code === AVERROR_EOF) return;
      if (code < 0 || packet.data === null) throw new Error(`the encoder failed: ${code}`);
      const data = Uint8Array.from(packet.data);
      const pts = Number(packet.pts);
      const number = Math.round(pts / step);
      units.push({
        data,
        keyframe: packet.isKeyframe,
        number,
        pts: firstPts + pts,
        dts: firstPts + Number(packet.dts),
        disposable: isDisposable(data),
      });
      packet.unref();
    }
  };
  try {
    for (let number = 0; number < frames; number += 1) {
      const { y, u, v } = makePicture(width, height, 0, movingBar(number, width));
      frame.unref();
      frame.width = width;
      frame.height = height;
      frame.format = AV_PIX_FMT_YUV420P;
      frame.pts = BigInt(Math.round(number * step));
      frame.fromBuffer(Buffer.concat([y, u, v]));
      const code = context.sendFrameSync(frame);
      if (code < 0) throw new Error(`the encoder refused a picture: ${code}`);
      receive();
    }
    context.sendFrameSync(null);
    receive();
  } finally {
    context.freeContext();
    frame.free();
    packet.free();
  }
  return units;
}

function open(options: BFrameOptions, width: number, height: number, framesPerSecond: number): CodecContext {
  const codec = Codec.findEncoderByName(FF_ENCODER_LIBX264);
  if (codec === null) throw new Error('this FFmpeg has no x264');
  const context = new CodecContext();
  context.allocContext3(codec);
  context.width = width;
  context.height = height;
  context.pixelFormat = AV_PIX_FMT_YUV420P;
  context.timeBase = new Rational(1, VIDEO_CLOCK_HZ);
  context.framerate = new Rational(framesPerSecond, 1);
  context.gopSize = options.keyframeEvery ?? 250;
  context.maxBFrames = options.bFrames;
  context.threadCount = 1;
  const pyramid = options.pyramid === true ? 'normal' : 'none';
  context.setOption('preset', 'veryfast');
  context.setOption('profile', options.profile ?? 'high');
  context.setOption(
    'x264-params',
    `b-adapt=0:b-pyramid=${pyramid}:scenecut=0:repeat-headers=1:rc-lookahead=0:sync-lookahead=0`,
  );
  if (context.open2Sync(codec, null) < 0) throw new Error('x264 did not open');
  return context;
}

/** nal_ref_idc of the first slice is 0. */
function isDisposable(data: Uint8Array): boolean {
  for (let at = 0; at + 3 < data.length; at += 1) {
    if (data[at] !== 0 || data[at + 1] !== 0 || data[at + 2] !== 1) continue;
    const header = data[at + 3] as number;
    if ((header & 0x1f) === 1 || (header & 0x1f) === 5) return (header & 0x60) === 0;
  }
  return false;
}

/** The unit with an SPS that ends in front of its VUI (main profile): it does not say how deep pictures are reordered. */
export function withoutVui(data: Uint8Array): Uint8Array {
  const parts = splitAnnexB(data).flatMap((unit) => [
    Uint8Array.from([0, 0, 0, 1]),
    ((unit[0] as number) & 0x1f) === NAL_SPS ? cutSps(unit) : unit,
  ]);
  return Buffer.concat(parts);
}

/** H.264 section 7.3.2.1.1, profiles without chroma_format_idc, pic_order_cnt_type 0 or 2. */
function cutSps(sps: Uint8Array): Uint8Array {
  const raw = [...sps].filter((byte, at) => !(byte === 3 && sps[at - 1] === 0 && sps[at - 2] === 0));
  const bits = raw.flatMap((byte) => Array.from({ length: 8 }, (_, bit) => (byte >> (7 - bit)) & 1));
  let at = 32;
  const ue = (): number => {
    let zeros = 0;
    while (bits[at] === 0) {
      zeros += 1;
      at += 1;
    }
    const value = bits.slice(at, at + zeros + 1).reduce((sum, bit) => 2 * sum + bit, 0) - 1;
    at += zeros + 1;
    return value;
  };
  ue(); // seq_parameter_set_id
  ue(); // log2_max_frame_num_minus4
  if (ue() === 0) ue(); // pic_order_cnt_type, log2_max_pic_order_cnt_lsb_minus4
  ue(); // max_num_ref_frames
  at += 1;
  ue(); // width, height
  ue();
  if (bits[at] !== 1) throw new Error('the SPS is interlaced');
  at += 2; // frame_mbs_only_flag, direct_8x8_inference_flag
  at += 1;
  if (bits[at - 1] === 1) for (let side = 0; side < 4; side += 1) ue(); // frame_cropping
  const kept = [...bits.slice(0, at), 0, 1]; // no VUI, rbsp_stop_one_bit
  while (kept.length % 8 !== 0) kept.push(0);
  const bytes: number[] = [];
  for (let bit = 0; bit < kept.length; bit += 8) {
    const byte = kept.slice(bit, bit + 8).reduce((sum, value) => 2 * sum + value, 0);
    if (byte <= 3 && bytes.at(-1) === 0 && bytes.at(-2) === 0) bytes.push(3);
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
