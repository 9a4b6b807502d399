import { AV_PIX_FMT_YUV420P, FF_ENCODER_LIBSVTAV1 } from 'node-av/constants';
import { Codec, CodecContext, Packet, Rational } from 'node-av/lib';
import { FramePool, frameOf } from '../server/codec/frame-picture.ts';
import type { AccessUnit } from '../server/media/types.ts';
import { makePicture, movingBar } from './pictures.ts';

/** AV1 comes in but never goes out, so the product has no encoder for it. */

/** SVT-AV1 prints its settings otherwise; errors alone are 1. */
process.env['SVT_LOG'] = '1';

/** A low-delay stream: temporal units with delimiter, the sequence header on keyframes. */
export function makeAv1Stream(width: number, height: number, frames: number, keyframeInterval = 300): AccessUnit[] {
  const codec = Codec.findEncoderByName(FF_ENCODER_LIBSVTAV1);
  if (codec === null) throw new Error('This FFmpeg has no libsvtav1.');
  const context = new CodecContext();
  context.allocContext3(codec);
  context.width = width;
  context.height = height;
  context.pixelFormat = AV_PIX_FMT_YUV420P;
  context.timeBase = new Rational(1, 90_000);
  context.framerate = new Rational(30, 1);
  context.gopSize = keyframeInterval;
  context.setOption('preset', '12');
  context.setOption('svtav1-params', 'pred-struct=1:lookahead=0:rc=0:lp=1');
  const code = context.open2Sync(codec, null);
  if (code < 0) throw new Error(`Opening libsvtav1 failed: ${code}`);
  const pool = new FramePool(width, height);
  const packet = new Packet();
  packet.alloc();
  const units: AccessUnit[] = [];
  const drain = () => {
    while (context.receivePacketSync(packet) >= 0) {
      const data = new Uint8Array(packet.data ?? Buffer.alloc(0));
      const times = { receivedAtUs: 1, assembledAtUs: 1 };
      units.push({ codec: 'AV1', data, mediaTime: Number(packet.pts), keyframe: packet.isKeyframe, ...times });
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
