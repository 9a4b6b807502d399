/** Planes made for tests. */
import type { Plane } from '../resize.ts';

export const plane = (width: number, height: number, value: (x: number, y: number) => number): Plane => ({
  width,
  height,
  data: Float32Array.from({ length: width * height }, (_, i) => value(i % width, Math.floor(i / width))),
});

/** Repeatable noise in 0..1. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Edges, a fine grid and a slope: something for every measure to see. */
export const scene = (width: number, height: number, shift = 0): Plane =>
  plane(width, height, (x, y) => {
    const at = x + shift;
    const block = Math.floor(at / 16) % 2 === Math.floor(y / 16) % 2 ? 60 : 150;
    return block + 25 * Math.sin(at / 1.7) * Math.cos(y / 2.3) + y / 8;
  });
