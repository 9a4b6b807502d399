import { AV_PIX_FMT_YUV420P, FF_ENCODER_LIBVPX_VP9 } from 'node-av/constants';
import { Codec, CodecContext, Packet, Rational } from 'node-av/lib';
import { expect, it } from 'vitest';
import type { AccessUnit } from '../../media/types.ts';
import { AppError } from '../../errors.ts';
import { Decoder } from '../decoder.ts';
import { FramePool, frameOf } from '../frame-picture.ts';
import { lumaDifference, makePicture, movingBar } from '../../../testing/pictures.ts';

/** VP9 comes in but never goes out, so the product has no encoder for it. */
function makeVp9(width: number, height: number, frames: number): AccessUnit[] {
  const codec = Codec.findEncoderByName(FF_ENCODER_LIBVPX_VP9);
  if (codec === null) throw new Error('no libvpx-vp9');
  const context = new CodecContext();
  context.allocContext3(codec);
  context.width = width;
  context.height = height;
  context.pixelFormat = AV_PIX_FMT_YUV420P;
  context.timeBase = new Rational(1, 90_000);
  context.bitRate = 800_000n;
  context.setOption('deadline', 'realtime');
  context.setOption('cpu-used', '8');
  context.setOption('lag-in-frames', '0');
  expect(context.open2Sync(codec, null)).toBe(0);
  const pool = new FramePool(width, height);
  const packet = new Packet();
  packet.alloc();
  const units: AccessUnit[] = [];
  for (let number = 0; number < frames; number += 1) {
    const { frame, done } = frameOf(makePicture(width, height, 0, movingBar(number, width)), () => pool);
    frame.pts = BigInt(number * 3000);
    context.sendFrameSync(frame);
    done();
    while (context.receivePacketSync(packet) >= 0) {
      const data = new Uint8Array(packet.data ?? Buffer.alloc(0));
      const times = { receivedAtUs: 1, assembledAtUs: 1 };
      units.push({ codec: 'VP9', data, mediaTime: Number(packet.pts), keyframe: packet.isKeyframe, ...times });
      packet.unref();
    }
  }
  context.freeContext();
  pool.close();
  return units;
}

it.each([
  [320, 180],
  [321, 181],
])('decodes VP9 of %dx%d', (width, height) => {
  const decoder = new Decoder({ codec: 'VP9', maxPixels: 1e6 });
  const units = makeVp9(width, height, 6);
  const pictures = units.flatMap((unit) => decoder.decode(unit));
  expect(pictures.map((picture) => picture.mediaTime)).toEqual([0, 3000, 6000, 9000, 12000, 15000]);
  pictures.forEach((picture, number) => {
    expect([picture.width, picture.height]).toEqual([width, height]);
    expect(lumaDifference(picture, makePicture(width, height, 0, movingBar(number, width)))).toBeLessThan(4);
  });
  decoder.close();
});

it('refuses VP9 above the limit by its size', () => {
  const decoder = new Decoder({ codec: 'VP9', maxPixels: 320 * 192 });
  const [large] = makeVp9(640, 360, 1) as [AccessUnit];
  expect(() => decoder.decode(large)).toThrow(AppError);
  expect(() => decoder.decode(large)).toThrow(/640x360; at most 61440/);
  decoder.close();
});

it('follows a new size with every picture, and recovers after one that is too large', () => {
  const decoder = new Decoder({ codec: 'VP9', maxPixels: 640 * 360 });
  const sizes = [
    [320, 180],
    [180, 320],
    [640, 360],
    [98, 54],
  ] as const;
  const keyframes = sizes.map(([width, height]) => makeVp9(width, height, 1)[0] as AccessUnit);
  const [large] = makeVp9(1280, 720, 1) as [AccessUnit];
  for (let picture = 0; picture < 40; picture += 1) {
    if (picture % 10 === 5) expect(() => decoder.decode(large)).toThrow(/1280x720/);
    const [width, height] = sizes[picture % 4] as (typeof sizes)[number];
    const pictures = decoder.decode({ ...(keyframes[picture % 4] as AccessUnit), mediaTime: picture * 3000 });
    expect(pictures.map((made) => [made.width, made.height])).toEqual([[width, height]]);
    for (const made of pictures) made.release();
  }
  decoder.close();
});
