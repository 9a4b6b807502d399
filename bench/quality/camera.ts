/** How a low-resolution frame comes from a high-resolution one: the literature's clean way, and a webcam's. */
import { clampByte, i420Chroma, i420Luma, type I420, type Rgb } from './colour.ts';
import { resizePlane, type Plane } from './resize.ts';

export const roundPlane = (plane: Plane): Uint8Array => Uint8Array.from(plane.data, clampByte);

export function cropRgb(rgb: Rgb, width: number, height: number, left = 0, top = 0): Rgb {
  const out = new Float32Array(3 * width * height);
  for (let c = 0; c < 3; c++)
    for (let y = 0; y < height; y++) {
      const from = c * rgb.width * rgb.height + (y + top) * rgb.width + left;
      out.set(rgb.data.subarray(from, from + width), (c * height + y) * width);
    }
  return { width, height, data: out };
}

/** RGB, antialiased bicubic, rounded to 8 bits: the literature's input. Sides must be multiples of `scale`. */
export function shrinkRgb(picture: Rgb, scale: number): Rgb {
  const [width, height, n] = [picture.width / scale, picture.height / scale, picture.width * picture.height];
  const data = new Float32Array(3 * width * height);
  for (let c = 0; c < 3; c++) {
    const plane = { width: picture.width, height: picture.height, data: picture.data.subarray(c * n, (c + 1) * n) };
    data.set(roundPlane(resizePlane(plane, width, height, 'bicubic')), c * width * height);
  }
  return { width, height, data };
}

/** A repeatable, roughly normal noise source of standard deviation 1 (sum of four uniforms of a 32-bit generator). */
export function noiseSource(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return () => (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3);
}

/** Gaussian, separable, replicated border. */
export function soften(plane: Plane, sigma: number): Plane {
  const radius = Math.ceil(3 * sigma);
  const weights = Float32Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * sigma ** 2)),
  );
  const sum = weights.reduce((a, b) => a + b, 0);
  const { width, height } = plane;
  const pass = (source: Float32Array, length: number, step: number, lines: number, lineStep: number): Float32Array => {
    const out = new Float32Array(source.length);
    for (let line = 0; line < lines; line++)
      for (let i = 0; i < length; i++) {
        let value = 0;
        for (let k = -radius; k <= radius; k++) {
          const at = Math.max(0, Math.min(length - 1, i + k));
          value += (weights[k + radius] as number) * (source[line * lineStep + at * step] as number);
        }
        out[line * lineStep + i * step] = value / sum;
      }
    return out;
  };
  return { width, height, data: pass(pass(plane.data, width, 1, height, width), height, width, width, 1) };
}

/** A little out of focus (high-resolution pixels), a little noise (grey levels at low resolution). */
export interface Camera {
  blurSigma: number;
  noiseLevels: number;
  noise: () => number;
}

export const webcam = (seed: number): Camera => ({ blurSigma: 1, noiseLevels: 2, noise: noiseSource(seed) });

/** Without a camera: antialiased bicubic of the planes. With one: focus, then that resize, then noise. */
export function shrinkI420(frame: I420, scale: number, camera?: Camera): I420 {
  const planes = [i420Luma(frame), ...i420Chroma(frame)].map((plane, index) => {
    const sharp = camera ? soften(plane, index ? camera.blurSigma / 2 : camera.blurSigma) : plane;
    const small = resizePlane(sharp, plane.width / scale, plane.height / scale, 'bicubic');
    if (camera) small.data.forEach((value, i) => (small.data[i] = value + camera.noise() * camera.noiseLevels));
    return roundPlane(small);
  });
  return { width: frame.width / scale, height: frame.height / scale, data: new Uint8Array(Buffer.concat(planes)) };
}
