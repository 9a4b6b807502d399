import type { OnnxLayout } from '../spec.ts';

/** A picture's samples as a model takes them: float32 RGB planes or a tightly packed uint8 I420 picture. */
export type Samples = Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

/** One tensor within a picture's samples. */
export interface TensorPlace {
  readonly dims: readonly [1, number, number, number];
  /** First value and number of values. */
  readonly start: number;
  readonly length: number;
}

/** Where a picture's tensors lie in its samples, in the order of the graph's picture inputs or outputs. */
export function tensorPlaces(layout: OnnxLayout, width: number, height: number): readonly TensorPlace[] {
  if (layout === 'rgb') return [{ dims: [1, 3, height, width], start: 0, length: 3 * height * width }];
  const [chromaWidth, chromaHeight] = [(width + 1) >> 1, (height + 1) >> 1];
  const luma = height * width;
  return [
    { dims: [1, 1, height, width], start: 0, length: luma },
    { dims: [1, 2, chromaHeight, chromaWidth], start: luma, length: 2 * chromaHeight * chromaWidth },
  ];
}

export function sampleCount(layout: OnnxLayout, width: number, height: number): number {
  return tensorPlaces(layout, width, height).reduce((sum, place) => sum + place.length, 0);
}

export function newSamples(layout: OnnxLayout, width: number, height: number): Samples {
  const count = sampleCount(layout, width, height);
  return layout === 'rgb' ? new Float32Array(count) : new Uint8Array(count);
}
