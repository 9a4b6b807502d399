/** BT.601 limited range, as MATLAB's rgb2ycbcr: what the literature's "PSNR on Y" is computed on. Chroma siting is centred. */
import type { Plane } from './resize.ts';
import { emptyPlane, resizePlane } from './resize.ts';

/** Red, green and blue planes, each width * height, 0..255. */
export interface Rgb {
  width: number;
  height: number;
  data: Float32Array;
}

/** Tightly packed I420: luma, then U, then V, 8 bits; chroma sides are halved and rounded up. */
export interface I420 {
  width: number;
  height: number;
  data: Uint8Array<ArrayBuffer>;
}

export const halfSize = (side: number): number => Math.ceil(side / 2);

export const clampByte = (value: number): number => Math.max(0, Math.min(255, Math.round(value)));

export function rgbLuma({ width, height, data }: Rgb): Plane {
  const out = emptyPlane(width, height);
  const n = width * height;
  for (let i = 0; i < n; i++)
    out.data[i] = 16 + (65.481 * (data[i] ?? 0) + 128.553 * (data[i + n] ?? 0) + 24.966 * (data[i + 2 * n] ?? 0)) / 255;
  return out;
}

export function rgbToI420(rgb: Rgb): I420 {
  const { width, height, data } = rgb;
  const [w, h, n] = [halfSize(width), halfSize(height), width * height];
  const out = new Uint8Array(n + 2 * w * h);
  const luma = rgbLuma(rgb);
  for (let i = 0; i < n; i++) out[i] = clampByte(luma.data[i] ?? 0);
  const mixes = [
    [-37.797, -74.203, 112],
    [112, -93.786, -18.214],
  ];
  for (const [c, [r = 0, g = 0, b = 0]] of mixes.entries())
    for (let y = 0; y < h; y++)
      for (let x = 0; x < w; x++) {
        let sum = 0;
        for (const [dy, dx] of [
          [0, 0],
          [0, 1],
          [1, 0],
          [1, 1],
        ] as const) {
          const at = Math.min(2 * y + dy, height - 1) * width + Math.min(2 * x + dx, width - 1);
          sum += r * (data[at] ?? 0) + g * (data[at + n] ?? 0) + b * (data[at + 2 * n] ?? 0);
        }
        out[n + c * w * h + y * w + x] = clampByte(128 + sum / 4 / 255);
      }
  return { width, height, data: out };
}

export function i420Luma({ width, height, data }: I420): Plane {
  return { width, height, data: Float32Array.from(data.subarray(0, width * height)) };
}

export function i420Chroma({ width, height, data }: I420): [Plane, Plane] {
  const [w, h, n] = [halfSize(width), halfSize(height), width * height];
  const plane = (start: number): Plane => ({
    width: w,
    height: h,
    data: Float32Array.from(data.subarray(start, start + w * h)),
  });
  return [plane(n), plane(n + w * h)];
}

/** Chroma is brought to full size with the cubic kernel. Values are clamped to 0..255 but not rounded. */
export function i420ToRgb(frame: I420): Rgb {
  const { width, height } = frame;
  const n = width * height;
  const luma = i420Luma(frame);
  const [u, v] = i420Chroma(frame).map((plane) => {
    const full = resizePlane(plane, 2 * plane.width, 2 * plane.height, 'bicubic');
    const cut = emptyPlane(width, height);
    for (let y = 0; y < height; y++)
      cut.data.set(full.data.subarray(y * full.width, y * full.width + width), y * width);
    return cut;
  });
  const out = new Float32Array(3 * n);
  for (let i = 0; i < n; i++) {
    const y = (255 / 219) * ((luma.data[i] ?? 0) - 16);
    const [cb, cr] = [(u?.data[i] ?? 128) - 128, (v?.data[i] ?? 128) - 128];
    out[i] = Math.max(0, Math.min(255, y + 1.596027 * cr));
    out[i + n] = Math.max(0, Math.min(255, y - 0.391762 * cb - 0.812968 * cr));
    out[i + 2 * n] = Math.max(0, Math.min(255, y + 2.017232 * cb));
  }
  return { width, height, data: out };
}
