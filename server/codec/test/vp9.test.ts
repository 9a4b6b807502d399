import { FF_ENCODER_LIBVPX_VP9 } from 'node-av/constants';
import { expect, it } from 'vitest';
import type { AccessUnit } from '../../media/types.ts';
import { AppError } from '../../errors.ts';
import { Decoder } from '../decoder.ts';
import { encodeLowDelay } from '../../../testing/low-delay-encoder.ts';
import { lumaDifference, makePicture, movingBar } from '../../../testing/pictures.ts';

function makeVp9(width: number, height: number, frames: number): AccessUnit[] {
  const options = { deadline: 'realtime', 'cpu-used': '8', 'lag-in-frames': '0' };
  const bitsPerSecond = 800_000;
  return encodeLowDelay({
    ...{ encoder: FF_ENCODER_LIBVPX_VP9, codec: 'VP9', options, bitsPerSecond },
    ...{ width, height, frames },
  });
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
