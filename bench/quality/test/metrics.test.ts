import { describe, expect, it } from 'vitest';
import { soften } from '../camera.ts';
import { flicker, inside, perceptualDistance, psnr, ssim } from '../metrics.ts';
import type { Plane } from '../resize.ts';
import { plane, random, scene } from './planes.ts';

const noisy = (source: Plane, levels: number, seed: number): Plane => {
  const next = random(seed);
  return { ...source, data: source.data.map((value) => value + (next() - 0.5) * 2 * levels) };
};
const picture = scene(64, 64);
const shifted = scene(64, 64, 1);

describe('PSNR', () => {
  it('is 20 log10(255 / d) for a constant difference d', () => {
    const off = (d: number): Plane => ({ ...picture, data: picture.data.map((value) => value + d) });
    expect(psnr(picture, off(1))).toBeCloseTo(48.1308, 3);
    expect(psnr(picture, off(-16))).toBeCloseTo(24.0484, 3);
  });

  it('counts the mean of squares, not the square of means', () => {
    const half = plane(2, 1, (x) => x * 10);
    // One sample of two is 10 off: mean square 50.
    expect(
      psnr(
        half,
        plane(2, 1, () => 0),
      ),
    ).toBeCloseTo(10 * Math.log10(255 ** 2 / 50), 5);
  });

  it('is infinite for equal planes and refuses other sizes', () => {
    expect(psnr(picture, picture)).toBe(Infinity);
    expect(() =>
      psnr(
        picture,
        plane(64, 63, () => 0),
      ),
    ).toThrow('planes differ in size: 64x64 and 64x63');
  });
});

describe('SSIM', () => {
  it('is the luminance term alone for flat planes', () => {
    const c1 = (0.01 * 255) ** 2;
    const expected = (2 * 100 * 140 + c1) / (100 ** 2 + 140 ** 2 + c1);
    expect(
      ssim(
        plane(20, 15, () => 100),
        plane(20, 15, () => 140),
      ),
    ).toBeCloseTo(expected, 7);
  });

  it('is what the definition gives, window by window', () => {
    const [a, b] = [noisy(scene(24, 19), 20, 1), noisy(scene(24, 19), 20, 2)];
    expect(ssim(a, b)).toBeCloseTo(byDefinition(a, b), 6);
    expect(ssim(b, a)).toBeCloseTo(ssim(a, b), 12);
  });

  it('is 1 for equal planes and falls with noise', () => {
    expect(ssim(picture, picture)).toBeCloseTo(1, 10);
    const values = [5, 15, 45].map((levels) => ssim(picture, noisy(picture, levels, 3)));
    expect([...values].sort((a, b) => b - a)).toEqual(values);
    expect(values[0]).toBeLessThan(1);
  });

  it('refuses planes smaller than its window', () => {
    expect(() =>
      ssim(
        plane(10, 20, () => 0),
        plane(10, 20, () => 0),
      ),
    ).toThrow('11x11');
  });
});

/** Wang et al. 2004, equation 13, with a two-dimensional window and no shortcut. */
function byDefinition(a: Plane, b: Plane): number {
  const [c1, c2] = [6.5025, 58.5225];
  const window = Array.from({ length: 121 }, (_, i) =>
    Math.exp(-(((i % 11) - 5) ** 2 + (Math.floor(i / 11) - 5) ** 2) / 4.5),
  );
  const total = window.reduce((x, y) => x + y, 0);
  const values: number[] = [];
  for (let top = 0; top + 11 <= a.height; top++)
    for (let left = 0; left + 11 <= a.width; left++) {
      const samples = window.map((weight, i) => {
        const at = (top + Math.floor(i / 11)) * a.width + left + (i % 11);
        return { weight: weight / total, x: a.data[at] ?? NaN, y: b.data[at] ?? NaN };
      });
      const sum = (pick: (s: { x: number; y: number }) => number): number =>
        samples.reduce((acc, s) => acc + s.weight * pick(s), 0);
      const [mx, my] = [sum((s) => s.x), sum((s) => s.y)];
      const [vx, vy] = [sum((s) => (s.x - mx) ** 2), sum((s) => (s.y - my) ** 2)];
      const cov = sum((s) => (s.x - mx) * (s.y - my));
      values.push(((2 * mx * my + c1) * (2 * cov + c2)) / ((mx ** 2 + my ** 2 + c1) * (vx + vy + c2)));
    }
  return values.reduce((x, y) => x + y, 0) / values.length;
}

describe('MS-GMSD', () => {
  it('is 0 for equal planes, for another brightness, and for the same loss everywhere: it is a deviation', () => {
    expect(perceptualDistance(picture, picture)).toBe(0);
    const brighter = { ...picture, data: picture.data.map((value) => value + 20) };
    expect(perceptualDistance(picture, brighter)).toBeCloseTo(0, 3);
    const ramp = (slope: number): Plane => plane(48, 48, (x) => slope * x);
    expect(perceptualDistance(ramp(1), ramp(4))).toBeCloseTo(0, 6);
  });

  it('is the spread between a half that is kept and a half that is lost', () => {
    const [size, slope] = [512, 0.1];
    const truth = plane(size, size, (x) => slope * x);
    const half = plane(size, size, (x) => slope * Math.min(x, size / 2));
    // A Prewitt gradient is twice the slope; each scale doubles it. Lost: similarity t / (g^2 + t); kept: 1.
    const variance = [0.096, 0.596, 0.289, 0.019].map((weight, scale) => {
      const lost = 170 / ((2 * slope * 2 ** scale) ** 2 + 170);
      return (weight * (1 - lost) ** 2) / 4;
    });
    const expected = Math.sqrt(variance.reduce((a, b) => a + b, 0));
    expect(perceptualDistance(truth, half) / expected).toBeCloseTo(1, 1);
    expect(perceptualDistance(half, truth)).toBeCloseTo(perceptualDistance(truth, half), 10);
  });

  it('grows with blur and with noise, and a shifted picture is worse than a slightly soft one', () => {
    for (const worse of [
      [0.6, 1, 2].map((sigma) => soften(picture, sigma)),
      [5, 15, 45].map((levels) => noisy(picture, levels, 4)),
    ]) {
      const values = worse.map((plane) => perceptualDistance(picture, plane));
      expect([...values].sort((a, b) => a - b)).toEqual(values);
      expect(values[0]).toBeGreaterThan(0);
    }
    const soft = soften(picture, 0.6);
    expect(perceptualDistance(picture, shifted)).toBeGreaterThan(perceptualDistance(picture, soft));
    expect(ssim(picture, shifted)).toBeLessThan(ssim(picture, soft));
    expect(psnr(picture, shifted)).toBeLessThan(psnr(picture, soft));
  });

  it('refuses planes too small for four scales', () => {
    expect(() =>
      perceptualDistance(
        plane(23, 30, () => 0),
        plane(23, 30, () => 0),
      ),
    ).toThrow('24x24');
  });
});

describe('flicker', () => {
  const [one, two] = [scene(32, 32), scene(32, 32, 1)];

  it('is 0 on the truth and for an error that stays', () => {
    expect(flicker(one, two, one, two)).toBe(0);
    const dark = (source: Plane): Plane => ({ ...source, data: source.data.map((value) => value - 7) });
    expect(flicker(dark(one), dark(two), one, two)).toBeCloseTo(0, 4);
  });

  it('is the error of the change: a still scene that jumps by 4 has 4, a moving one that stands still has its motion', () => {
    const jumped = { ...one, data: one.data.map((value, i) => value + (i % 2 ? 4 : -4)) };
    expect(flicker(one, jumped, one, one)).toBeCloseTo(4, 4);
    const motion = one.data.reduce((sum, value, i) => sum + Math.abs((two.data[i] ?? 0) - value), 0) / one.data.length;
    expect(flicker(one, one, one, two)).toBeCloseTo(motion, 4);
    expect(motion).toBeGreaterThan(1);
  });
});

it('inside cuts borders, or right and bottom', () => {
  const numbered = plane(5, 4, (x, y) => 10 * y + x);
  expect([...inside(numbered, 1).data]).toEqual([11, 12, 13, 21, 22, 23]);
  expect([...inside(numbered, 0, 2, 3).data]).toEqual([0, 1, 10, 11, 20, 21]);
});
