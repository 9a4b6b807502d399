import { describe, expect, it } from 'vitest';
import { makePicture } from '../../../testing/pictures.ts';
import { textPage, type PageLook } from '../../../testing/drawn-pages.ts';
import type { Picture } from '../picture.ts';
import { DrawnContentWatch, drawnShares, newBlockSums } from '../drawn-content.ts';

const SIZES = [
  [320, 180],
  [640, 360],
  [360, 640],
] as const;
const LOOKS: readonly PageLook[] = [{}, { ink: 230, paper: 40 }, { dot: 2 }, { ink: 110 }, { scroll: 5 }];

/** Averages of neighbours in both directions: what scaling down leaves of hard strokes. */
const soft =
  (paint: (x: number, y: number) => number) =>
  (x: number, y: number): number =>
    Math.round((2 * paint(x, y) + paint(x + 1, y) + paint(x, y + 1)) / 4);

/** What a camera sees: shading, soft shapes in front of it, grain. */
const scene =
  (number: number, grain: number) =>
  (x: number, y: number): number => {
    const light = 90 + x / 6 + 30 * Math.sin((y + number) / 70);
    const shape = Math.hypot(x - 150 - number, y - 100) < 60 ? -70 : 0;
    const weave = 18 * Math.sin(x / 3 + number) * Math.sin(y / 4);
    return Math.max(16, Math.min(235, Math.round(light + shape + weave + ((x * 31 + y * 17 + number) % (grain + 1)))));
  };

describe('shares of a picture', () => {
  it.each(SIZES)('finds strokes and paper on pages of text of %dx%d', (width, height) => {
    for (const look of LOOKS) {
      for (const paint of [textPage(width, height, look), soft(textPage(width, height, look))]) {
        const { strokes, even } = drawnShares(makePicture(width, height, 0, paint));
        expect([look, strokes]).toEqual([look, expect.toSatisfy((share: number) => share > 0.06)]);
        expect(strokes / (1 - even)).toBeGreaterThan(0.24);
      }
    }
  });

  it('finds none in scenes, silhouettes, bars, gradients and noise', () => {
    const pictures = [
      scene(0, 0),
      scene(7, 12),
      (x: number) => (x < 160 ? 30 : 220),
      (x: number, y: number) => (Math.hypot(x - 160, y - 90) < 50 ? 30 : 220),
      (x: number, y: number) => 16 + ((x + y) % 220),
      (x: number, y: number) => (x * 7919 + y * 104_729) % 256,
      () => 16,
    ];
    for (const [index, paint] of pictures.entries()) {
      expect([index, drawnShares(makePicture(320, 180, 0, paint)).strokes]).toEqual([
        index,
        expect.toSatisfy((share: number) => share < 0.01),
      ]);
    }
  });

  it('knows what stands still from the picture before', () => {
    const sums = newBlockSums();
    const still = (paint: (x: number, y: number) => number): number =>
      drawnShares(makePicture(320, 180, 0, paint), sums).still;
    expect(still(textPage(320, 180))).toBe(0);
    expect(still(textPage(320, 180))).toBe(1);
    expect(still(textPage(320, 180, { scroll: 3 }))).toBeLessThan(0.8);
    expect(still(scene(0, 3))).toBeLessThan(0.1);
    expect(still(scene(9, 3))).toBeLessThan(0.3);
  });

  it('takes pictures without a whole block', () => {
    expect(drawnShares(makePicture(6, 200, 0))).toEqual({ strokes: 0, even: 0, still: 0 });
  });
});

describe('the watch', () => {
  const page = (mediaTime: number): Picture => makePicture(320, 180, mediaTime, textPage(320, 180));
  const camera = (mediaTime: number): Picture => makePicture(320, 180, mediaTime, scene(mediaTime / 3000, 3));

  it('says so with the third drawn picture, and three seconds after the last', () => {
    const watch = new DrawnContentWatch();
    expect([0, 3000, 6000].map((time) => watch.see(page(time)))).toEqual([false, false, true]);
    expect(watch.see(camera(9000))).toBe(true);
    expect(watch.see(camera(6000 + 3 * 90_000 - 1))).toBe(true);
    expect(watch.see(camera(6000 + 3 * 90_000))).toBe(false);
  });

  it('does not change for a drawn picture now and then, nor for pictures among pages', () => {
    const watch = new DrawnContentWatch();
    for (let number = 0; number < 40; number += 1) {
      const time = number * 30_000;
      expect(watch.see(number % 4 === 0 ? page(time) : camera(time))).toBe(false);
    }
    for (let number = 0; number < 3; number += 1) watch.see(page(1_200_000 + number));
    for (let number = 1; number < 40; number += 1) {
      const time = 1_200_000 + number * 80_000;
      expect(watch.see(number % 3 === 0 ? page(time) : camera(time))).toBe(true);
    }
  });

  it('begins again with another source', () => {
    const watch = new DrawnContentWatch();
    for (const time of [0, 3000, 6000]) watch.see(page(time));
    watch.restart();
    expect(watch.drawn).toBe(false);
    expect(watch.see(page(0))).toBe(false);
  });
});
