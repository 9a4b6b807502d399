/**
 * Scores on luma planes, 0..255 (BT.601 limited-range code values, as in the literature).
 *
 * perceptualDistance is MS-GMSD, multi-scale gradient magnitude similarity deviation (Zhang et al., "Gradient magnitude
 * similarity deviation on multiple scales", ICASSP 2017), its luma part: the substitute for LPIPS and DISTS, whose networks come
 * in no package used here. It follows how evenly structure survives; it is blind to colour and mild on invented detail.
 */
import type { Plane } from './resize.ts';
import { emptyPlane } from './resize.ts';

/** Without `border` samples on every side; or of the given size, cut at right and bottom. */
export function inside(
  plane: Plane,
  border: number,
  width = plane.width - 2 * border,
  height = plane.height - 2 * border,
): Plane {
  const out = emptyPlane(width, height);
  for (let y = 0; y < height; y++) {
    const from = (y + border) * plane.width + border;
    out.data.set(plane.data.subarray(from, from + width), y * width);
  }
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

/** Gaussian of 11 taps and sigma 1.5, centre first; the window of Wang et al. 2004. */
const [W0 = 0, W1 = 0, W2 = 0, W3 = 0, W4 = 0, W5 = 0] = (() => {
  const half = Array.from({ length: 6 }, (_, i) => Math.exp(-(i ** 2) / (2 * 1.5 ** 2)));
  const sum = half.reduce((total, value, i) => total + (i ? 2 * value : value), 0);
  return half.map((value) => value / sum);
})();
const WINDOW = 11;

/** Weighted sum of 11 values `step` apart, the first at `i`: written out because half the benchmark's time is spent here. */
function gaussian(v: Float64Array, i: number, step: number): number {
  const c = i + 5 * step;
  return (
    W0 * (v[c] as number) +
    W1 * ((v[c - step] as number) + (v[c + step] as number)) +
    W2 * ((v[c - 2 * step] as number) + (v[c + 2 * step] as number)) +
    W3 * ((v[c - 3 * step] as number) + (v[c + 3 * step] as number)) +
    W4 * ((v[c - 4 * step] as number) + (v[c + 4 * step] as number)) +
    W5 * ((v[i] as number) + (v[c + 5 * step] as number))
  );
}

/** Mean SSIM: Gaussian window of 11x11 and 1.5 where it fits whole, constants for 8 bits (Wang et al. 2004). */
export function ssim(a: Plane, b: Plane): number {
  same(a, b);
  const { width, height } = a;
  if (width < WINDOW || height < WINDOW) throw new Error(`SSIM needs at least 11x11 samples, not ${width}x${height}`);
  const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];
  const columns = width - WINDOW + 1;
  // Rows of a, b, a^2 + b^2 and a*b, filtered across; 11 of them are held at a time.
  const lines = [0, 1, 2, 3].map(() => new Float64Array(WINDOW * columns)) as Four;
  const row = [0, 1, 2, 3].map(() => new Float64Array(width)) as Four;
  let sum = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [p, q] = [a.data[y * width + x] as number, b.data[y * width + x] as number];
      row[0][x] = p;
      row[1][x] = q;
      row[2][x] = p * p + q * q;
      row[3][x] = p * q;
    }
    // The oldest row moves out at the front; the window is symmetric, but its order is kept for clarity.
    for (let map = 0; map < 4; map++) {
      const [held, line] = [lines[map] as Float64Array, row[map] as Float64Array];
      held.copyWithin(0, columns);
      const last = (WINDOW - 1) * columns;
      for (let x = 0; x < columns; x++) held[last + x] = gaussian(line, x, 1);
    }
    if (y < WINDOW - 1) continue;
    for (let x = 0; x < columns; x++) {
      const [p, q] = [gaussian(lines[0], x, columns), gaussian(lines[1], x, columns)];
      const squares = gaussian(lines[2], x, columns) - p * p - q * q;
      const covariance = gaussian(lines[3], x, columns) - p * q;
      sum += ((2 * p * q + c1) * (2 * covariance + c2)) / ((p * p + q * q + c1) * (squares + c2));
    }
  }
  return sum / (columns * (height - WINDOW + 1));
}

type Four = [Float64Array, Float64Array, Float64Array, Float64Array];

/** Means of 2x2 samples; an odd last row or column is left out. */
function halve({ width, height, data }: Plane): Plane {
  const out = emptyPlane(width >> 1, height >> 1);
  for (let y = 0; y < out.height; y++)
    for (let x = 0; x < out.width; x++) {
      const at = 2 * y * width + 2 * x;
      const upper = (data[at] as number) + (data[at + 1] as number);
      out.data[y * out.width + x] = (upper + (data[at + width] as number) + (data[at + width + 1] as number)) / 4;
    }
  return out;
}

/** Prewitt gradient magnitude, borders left out. */
function gradient({ width, height, data }: Plane): Float32Array {
  const out = new Float32Array((width - 2) * (height - 2));
  const at = (i: number): number => data[i] as number;
  for (let y = 1; y < height - 1; y++)
    for (let x = 1; x < width - 1; x++) {
      const i = y * width + x;
      const [up, down] = [i - width, i + width];
      const gx = at(up + 1) + at(i + 1) + at(down + 1) - at(up - 1) - at(i - 1) - at(down - 1);
      const gy = at(down - 1) + at(down) + at(down + 1) - at(up - 1) - at(up) - at(up + 1);
      out[(y - 1) * (width - 2) + x - 1] = Math.sqrt(gx * gx + gy * gy) / 3;
    }
  return out;
}

/** Variance of the gradients' similarity, whose root is the one-scale measure (Xue et al. 2014). */
function similarityVariance(a: Plane, b: Plane): number {
  const [ga, gb] = [gradient(a), gradient(b)];
  let [sum, squares] = [0, 0];
  for (let i = 0; i < ga.length; i++) {
    const [x, y] = [ga[i] as number, gb[i] as number];
    const similar = ((2 - MASKING) * x * y + STABILITY) / (x * x + y * y - MASKING * x * y + STABILITY);
    sum += similar;
    squares += similar * similar;
  }
  return Math.max(0, squares / ga.length - (sum / ga.length) ** 2);
}

/** Of the paper: weights of full size, half, quarter and eighth; stability for 8-bit values; masking of weak gradients. */
const SCALE_WEIGHTS = [0.096, 0.596, 0.289, 0.019];
const STABILITY = 170;
const MASKING = 0.5;

/** Multi-scale gradient magnitude similarity deviation; 0 for identical planes, larger is worse. @throws below 24x24 samples */
export function perceptualDistance(a: Plane, b: Plane): number {
  same(a, b);
  if (Math.min(a.width, a.height) < 24)
    throw new Error(`MS-GMSD needs at least 24x24 samples, not ${a.width}x${a.height}`);
  let total = 0;
  for (const [scale, weight] of SCALE_WEIGHTS.entries()) {
    if (scale) [a, b] = [halve(a), halve(b)];
    total += weight * similarityVariance(a, b);
  }
  return Math.sqrt(total);
}

/** Mean absolute error of the change from one frame to the next against the truth's change, in grey levels: flicker. */
export function flicker(before: Plane, after: Plane, truthBefore: Plane, truthAfter: Plane): number {
  same(before, truthBefore);
  same(after, truthAfter);
  same(before, after);
  let sum = 0;
  for (let i = 0; i < before.data.length; i++) {
    const change = (after.data[i] as number) - (before.data[i] as number);
    sum += Math.abs(change - ((truthAfter.data[i] as number) - (truthBefore.data[i] as number)));
  }
  return sum / before.data.length;
}
