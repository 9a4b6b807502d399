import { afterEach, expect, it } from 'vitest';
import { makeAv1Stream } from '../../../testing/av1-stream.ts';
import { lumaDifference, makePicture, movingBar } from '../../../testing/pictures.ts';
import type { AccessUnit } from '../../media/types.ts';
import { Decoder } from '../decoder.ts';
import { keyframeSize } from '../picture-size.ts';

let decoder: Decoder | undefined;

afterEach(() => {
  decoder?.close();
  decoder = undefined;
});

it.each([
  [320, 180],
  [322, 182],
])('decodes AV1 of %dx%d, each picture out of the call that put its unit in', (width, height) => {
  decoder = new Decoder({ codec: 'AV1', maxPixels: 1e6 });
  for (const [number, unit] of makeAv1Stream(width, height, 6).entries()) {
    const pictures = decoder.decode(unit);
    expect(pictures.map((picture) => picture.mediaTime)).toEqual([number * 3000]);
    for (const picture of pictures) {
      expect([picture.width, picture.height]).toEqual([width, height]);
      expect(lumaDifference(picture, makePicture(width, height, 0, movingBar(number, width)))).toBeLessThan(4);
      picture.release();
    }
  }
});

it('refuses AV1 above the limit by the size of its sequence header', () => {
  decoder = new Decoder({ codec: 'AV1', maxPixels: 320 * 192 });
  const [large] = makeAv1Stream(640, 360, 1) as [AccessUnit];
  expect(keyframeSize('AV1', large.data)).toMatchObject({ width: 640, height: 360 });
  expect(keyframeSize('AV1', large.data.subarray(0, 6)), 'cut').toBeUndefined();
  expect(() => decoder?.decode(large)).toThrow(/640x360; at most 61440/);
});

it('recovers from a damaged unit with the next keyframe', () => {
  decoder = new Decoder({ codec: 'AV1', maxPixels: 1e6 });
  const [first, second, third] = makeAv1Stream(320, 180, 3, 2) as [AccessUnit, AccessUnit, AccessUnit];
  expect(third.keyframe, 'a keyframe every two').toBe(true);
  for (const picture of decoder.decode(first)) picture.release();
  const damaged = { ...second, data: second.data.map((byte, at) => (at > 6 ? byte ^ 0xff : byte)) };
  expect(() => decoder?.decode(damaged)).toThrow(/AV1 frame could not be decoded/);
  expect(decoder.awaitingKeyframe).toBe(true);
  expect(() => decoder?.decode(second)).toThrow(/before any keyframe/);
  expect(decoder.decode(third)).toHaveLength(1);
});

it('shows another size from its keyframe on', () => {
  decoder = new Decoder({ codec: 'AV1', maxPixels: 1e6 });
  const small = makeAv1Stream(160, 96, 2);
  const large = makeAv1Stream(320, 180, 2).map((unit) => ({ ...unit, mediaTime: unit.mediaTime + 6000 }));
  const sizes = [...small, ...large].flatMap((unit) => decoder?.decode(unit) ?? []).map(({ width }) => width);
  expect(sizes).toEqual([160, 160, 320, 320]);
});
