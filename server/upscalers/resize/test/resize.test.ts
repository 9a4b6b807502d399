import { expect, it } from 'vitest';
import { makePicture } from '../../../../testing/pictures.ts';
import { scaledSize } from '../../plain-resize.ts';
import { ResizeUpscaler } from '../upscaler.ts';
import type { Picture } from '../../../media/picture.ts';

const spec = { kind: 'resize', scale: 4, filter: 'lanczos' } as const;

it.each([
  [320, 180, 4, 1280, 720],
  [321, 181, 4, 1284, 724],
  [99, 55, 1.5, 148, 82],
  [640, 360, 2, 1280, 720],
  // Not beyond 4K, and never smaller than the source.
  [1920, 1080, 4, 3840, 2160],
  [4096, 4096, 2, 4096, 4096],
])('%dx%d x%d gives %dx%d', (sourceWidth, sourceHeight, scale, width, height) => {
  expect(scaledSize({ sourceWidth, sourceHeight }, scale)).toEqual({ width, height });
});

it('is never called super-resolution, and its rungs get cheaper', () => {
  expect(new ResizeUpscaler(spec).info).toMatchObject({
    superResolution: false,
    label: 'Lanczos resize',
    rungs: ['Lanczos resize', 'bicubic resize', 'fast bilinear resize'],
    chunkFrames: 1,
    lookAheadFrames: 0,
  });
  expect(new ResizeUpscaler({ ...spec, filter: 'bicubic' }).info.rungs).toEqual([
    'bicubic resize',
    'fast bilinear resize',
  ]);
});

it('answers every push at once, on every rung, with the right picture', async () => {
  const results: Picture[] = [];
  const upscaler = new ResizeUpscaler({ ...spec, scale: 2 });
  const stream = await upscaler.openStream(
    { sourceWidth: 64, sourceHeight: 48 },
    {
      onPicture: (picture) => results.push(picture),
      onError: (error) => {
        throw error;
      },
    },
  );
  // A step from dark to bright in the middle: its position and sharpness identify the filter.
  const source = (number: number): Picture => makePicture(64, 48, number * 3000, (x) => (x < 32 ? 50 : 200));
  for (const rung of [0, 1, 2, 99]) {
    stream.setRung(rung);
    expect(stream.push(source(results.length))).toBe('accepted');
  }
  expect(results.map((picture) => picture.mediaTime)).toEqual([0, 3000, 6000, 9000]);
  const rows = results.map((picture) => [...picture.y.subarray(20 * picture.yStride, 20 * picture.yStride + 128)]);
  for (const row of rows) {
    expect(row[20]).toBe(50);
    expect(row[108]).toBe(200);
    // swscale's fast bilinear lies up to a pixel to the left.
    expect([63, 64]).toContain(row.findIndex((value) => value > 125));
  }
  // Lanczos and bicubic overshoot at the step, bilinear cannot.
  expect(Math.min(...(rows[0] as number[]))).toBeLessThan(50);
  expect(Math.min(...(rows[1] as number[]))).toBeLessThan(50);
  expect(Math.min(...(rows[2] as number[]))).toBe(50);
  expect(rows[0]).not.toEqual(rows[1]);
  expect(stream.busyUs).toBeGreaterThan(0);
  await upscaler.close();
  await upscaler.close();
  expect(stream.push(source(9))).toBe('closed');
});
