import { AV_PIX_FMT_YUV420P, type FFEncoderCodec } from 'node-av/constants';
import { Codec, CodecContext, Packet, Rational } from 'node-av/lib';
import { FramePool, frameOf } from '../server/codec/frame-picture.ts';
import type { AccessUnit } from '../server/media/types.ts';
import { makePicture, movingBar } from './pictures.ts';

export interface LowDelayStream {
  /** FFmpeg's name. */
  readonly encoder: FFEncoderCodec;
  readonly codec: AccessUnit['codec'];
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  readonly options: Readonly<Record<string, string>>;
  readonly bitsPerSecond?: number;
  readonly keyframeInterval?: number;
}

/** A moving bar at 30 frames/s in a codec that comes in but never goes out, so that the product has no encoder for it. */
export function encodeLowDelay(stream: LowDelayStream): AccessUnit[] {
  const { encoder, width, height, frames, options, bitsPerSecond, keyframeInterval } = stream;
  const codec = Codec.findEncoderByName(encoder);
  if (codec === null) throw new Error(`This FFmpeg has no ${encoder}.`);
  const context = new CodecContext();
  context.allocContext3(codec);
  context.width = width;
  context.height = height;
  context.pixelFormat = AV_PIX_FMT_YUV420P;
  context.timeBase = new Rational(1, 90_000);
  context.framerate = new Rational(30, 1);
  if (bitsPerSecond !== undefined) context.bitRate = BigInt(bitsPerSecond);
  if (keyframeInterval !== undefined) context.gopSize = keyframeInterval;
  for (const [name, value] of Object.entries(options)) context.setOption(name, value);
  const code = context.open2Sync(codec, null);
  if (code < 0) throw new Error(`Opening ${encoder} failed: ${code}`);
  const pool = new FramePool(width, height);
  const packet = new Packet();
  packet.alloc();
  const units: AccessUnit[] = [];
  const drain = () => {
    while (context.receivePacketSync(packet) >= 0) {
      const data = new Uint8Array(packet.data ?? Buffer.alloc(0));
      const times = { receivedAtUs: 1, assembledAtUs: 1 };
      units.push({ codec: stream.codec, data, mediaTime: Number(packet.pts), keyframe: packet.isKeyframe, ...times });
      packet.unref();
    }
  };
  for (let number = 0; number < frames; number += 1) {
    const { frame, done } = frameOf(makePicture(width, height, 0, movingBar(number, width)), () => pool);
    frame.pts = BigInt(number * 3000);
    context.sendFrameSync(frame);
    done();
    drain();
  }
  context.sendFrameSync(null);
  drain();
  packet.free();
  context.freeContext();
  pool.close();
  return units;
}
