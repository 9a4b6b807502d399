/** Pictures of results side by side, to be looked at. */
import { cropRgb } from './camera.ts';
import type { TestClip } from './clips.ts';
import { clampByte, i420ToRgb, type I420, type Rgb } from './colour.ts';
import { enlargeChroma, type Method } from './methods.ts';
import { writePng } from './png.ts';
import type { Plane } from './resize.ts';

/** Part of the high-resolution picture. */
export interface Window {
  left: number;
  top: number;
  width: number;
  height: number;
}

const GAP = 4;

function asI420(luma: Plane, [u, v]: [Plane, Plane]): I420 {
  const planes = [luma, u, v].map((plane) => Uint8Array.from(plane.data, clampByte));
  return { width: luma.width, height: luma.height, data: new Uint8Array(Buffer.concat(planes)) };
}

/** Every sample becomes a square of `factor`: nothing is smoothed over for the eye. */
export function magnify(picture: Rgb, factor: number): Rgb {
  const [width, height] = [picture.width * factor, picture.height * factor];
  const data = new Float32Array(3 * width * height);
  for (let c = 0; c < 3; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const row = c * picture.height + Math.floor(y / factor);
        data[(c * height + y) * width + x] = picture.data[row * picture.width + Math.floor(x / factor)] as number;
      }
  return { width, height, data };
}

/** White gaps between; all of one size. `columns` in a row. */
export function tile(pictures: readonly Rgb[], columns: number): Rgb {
  const [first] = pictures;
  if (!first) throw new Error('no pictures to put side by side');
  const rows = Math.ceil(pictures.length / columns);
  const width = columns * (first.width + GAP) - GAP;
  const height = rows * (first.height + GAP) - GAP;
  const data = new Float32Array(3 * width * height).fill(255);
  pictures.forEach((picture, i) => {
    if (picture.width !== first.width || picture.height !== first.height) throw new Error('pictures differ in size');
    const [left, top] = [(i % columns) * (first.width + GAP), Math.floor(i / columns) * (first.height + GAP)];
    for (let c = 0; c < 3; c++)
      for (let y = 0; y < picture.height; y++) {
        const from = (c * picture.height + y) * picture.width;
        data.set(picture.data.subarray(from, from + picture.width), (c * height + top + y) * width + left);
      }
  });
  return { width, height, data };
}

/**
 * The clip's last frame: input, every method in order, truth. Methods that make luma only get bicubic colour, as their users do.
 *
 * @returns the PNG and what is in it, left to right, top to bottom
 */
export async function cropSheet(
  clip: TestClip,
  methods: readonly Method[],
  window: Window,
  look: { columns: number; factor: number },
): Promise<{ png: Buffer; labels: string[] }> {
  const last = clip.frames.at(-1);
  if (!last) throw new Error(`${clip.name} has no frames`);
  const { left, top, width, height } = window;
  const cut = (picture: I420): Rgb => magnify(cropRgb(i420ToRgb(picture), width, height, left, top), look.factor);
  const pictures: Rgb[] = [];
  const labels: string[] = [];
  const [scale = 4] = methods.map((method) => method.scale);
  const small = cropRgb(
    i420ToRgb(last.i420),
    Math.ceil(width / scale),
    Math.ceil(height / scale),
    left / scale,
    top / scale,
  );
  pictures.push(magnify(small, look.factor * scale));
  labels.push('input');
  for (const method of methods) {
    method.reset();
    const history = method.recurrent ? clip.frames.slice(0, -1) : [];
    for (const frame of history) await method.upscale(frame);
    const { luma, chroma } = await method.upscale(last);
    const colour = chroma?.() ?? enlargeChroma(last.i420, scale, 'bicubic');
    pictures.push(cut(asI420(luma, colour)));
    labels.push(method.name);
  }
  pictures.push(cut(asI420(last.truth, last.truthChroma)));
  labels.push('truth');
  return { png: writePng(tile(pictures, look.columns)), labels };
}
