/**
 * Scores on luma planes, 0..255 (BT.601 limited-range code values, as in the literature).
 *
 * perceptualDistance is multi-scale gradient magnitude similarity deviation (Zhang et al., "Gradient Magnitude Similarity
 * Deviation on Multiple Scales", ICASSP 2017, luma part): the substitute for LPIPS, whose weights come in no package used here.
 * 0 is identical, higher is worse; it follows how evenly structure survives and is blind to colour and to invented detail.
 */
import type { Plane } from './resize.ts';
import { emptyPlane } from './resize.ts';

/** Cut `border` samples off every side, and round to 8 bits, as every method's output will be on the way out. */
export function inside(plane: Plane, border: number): Plane {
  const out = emptyPlane(plane.width - 2 * border, plane.height - 2 * border);
  for (let y = 0; y < out.height; y++)
    for (let x = 0; x < out.width; x++)
      out.data[y * out.width + x] = plane.data[(y + border) * plane.width + x + border] ?? 0;
  return out;
}

function same(a: Plane, b: Plane): void {
  if (a.width !== b.width || a.height !== b.height)
    throw new Error(`planes differ in size: ${a.width}x${a.height} and ${b.width}x${b.height}`);
}

/** dB; identical planes give Infinity. */
export function psnr(a: Plane, b: Plane): number {
  same(a, b);
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += ((a.data[i] ?? 0) - (b.data[i] ?? 0)) ** 2;
  return 10 * Math.log10(255 ** 2 / (sum / a.data.length));
}

const RADIUS = 5;
const WINDOW = (() => {
  const values = Float32Array.from({ length: 2 * RADIUS + 1 }, (_, i) =>
    Math.exp(-((i - RADIUS) ** 2) / (2 * 1.5 ** 2)),
  );
  const sum = values.reduce((a, b) => a + b, 0);
  return values.map((value) => value / sum);
})();

/** Gaussian window, only where it fits whole. */
function blur(plane: Plane): Plane {
  const across = emptyPlane(plane.width - 2 * RADIUS, plane.height);
  for (let y = 0; y < across.height; y++)
    for (let x = 0; x < across.width; x++) {
      let sum = 0;
      for (let k = 0; k < WINDOW.length; k++) sum += (WINDOW[k] ?? 0) * (plane.data[y * plane.width + x + k] ?? 0);
      across.data[y * across.width + x] = sum;
    }
  const out = emptyPlane(across.width, plane.height - 2 * RADIUS);
  for (let y = 0; y < out.height; y++)
    for (let k = 0; k < WINDOW.length; k++) {
      const weight = WINDOW[k] ?? 0;
      for (let x = 0; x < out.width; x++)
        out.data[y * out.width + x] =
          (out.data[y * out.width + x] ?? 0) + weight * (across.data[(y + k) * out.width + x] ?? 0);
    }
  return out;
}

const product = (a: Plane, b: Plane): Plane => ({ ...a, data: a.data.map((value, i) => value * (b.data[i] ?? 0)) });

/** Mean SSIM, 11x11 Gaussian window of 1.5 (Wang et al. 2004). */
export function ssim(a: Plane, b: Plane): number {
  same(a, b);
  const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];
  const [ma, mb, aa, bb, ab] = [a, b, product(a, a), product(b, b), product(a, b)].map((plane) => blur(plane).data);
  let sum = 0;
  const count = ma?.length ?? 0;
  for (let i = 0; i < count; i++) {
    const [x, y] = [ma?.[i] ?? 0, mb?.[i] ?? 0];
    const [vx, vy, cov] = [(aa?.[i] ?? 0) - x * x, (bb?.[i] ?? 0) - y * y, (ab?.[i] ?? 0) - x * y];
    sum += ((2 * x * y + c1) * (2 * cov + c2)) / ((x * x + y * y + c1) * (vx + vy + c2));
  }
  return sum / count;
}

function halve(plane: Plane): Plane {
  const out = emptyPlane(plane.width >> 1, plane.height >> 1);
  for (let y = 0; y < out.height; y++)
    for (let x = 0; x < out.width; x++) {
      const at = 2 * y * plane.width + 2 * x;
      const { data, width } = plane;
      out.data[y * out.width + x] =
        ((data[at] ?? 0) + (data[at + 1] ?? 0) + (data[at + width] ?? 0) + (data[at + width + 1] ?? 0)) / 4;
    }
  return out;
}

/** Prewitt gradient magnitude, borders left out. */
function gradient({ width, height, data }: Plane): Float32Array {
  const out = new Float32Array((width - 2) * (height - 2));
  for (let y = 1; y < height - 1; y++)
    for (let x = 1; x < width - 1; x++) {
      let [gx, gy] = [0, 0];
      for (let k = -1; k <= 1; k++) {
        gx += (data[(y + k) * width + x + 1] ?? 0) - (data[(y + k) * width + x - 1] ?? 0);
        gy += (data[(y + 1) * width + x + k] ?? 0) - (data[(y - 1) * width + x + k] ?? 0);
      }
      out[(y - 1) * (width - 2) + x - 1] = Math.hypot(gx, gy) / 3;
    }
  return out;
}

const SCALE_WEIGHTS = [0.096, 0.596, 0.289, 0.019];
const STABILITY = 170;

export function perceptualDistance(a: Plane, b: Plane): number {
  same(a, b);
  let total = 0;
  for (const weight of SCALE_WEIGHTS) {
    [a, b] = [halve(a), halve(b)];
    const [ga, gb] = [gradient(a), gradient(b)];
    const similar = ga.map((x, i) => (2 * x * (gb[i] ?? 0) + STABILITY) / (x * x + (gb[i] ?? 0) ** 2 + STABILITY));
    const mean = similar.reduce((x, y) => x + y, 0) / similar.length;
    total += (weight * similar.reduce((sum, x) => sum + (x - mean) ** 2, 0)) / similar.length;
  }
  return Math.sqrt(total);
}

/** Mean absolute error of the change from one frame to the next against the truth's change, in grey levels: flicker. */
export function flicker(before: Plane, after: Plane, truthBefore: Plane, truthAfter: Plane): number {
  same(before, truthBefore);
  same(after, truthAfter);
  let sum = 0;
  for (let i = 0; i < before.data.length; i++) {
    const change = (after.data[i] ?? 0) - (before.data[i] ?? 0);
    sum += Math.abs(change - ((truthAfter.data[i] ?? 0) - (truthBefore.data[i] ?? 0)));
  }
  return sum / before.data.length;
}
