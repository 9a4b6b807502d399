/** Separable float resizing with centred samples: Keys' cubic (a = -0.5) and Lanczos3; antialiased when shrinking, as MATLAB's imresize. */

export type Kernel = 'bicubic' | 'lanczos3';

/** One plane of floats, row by row. */
export interface Plane {
  width: number;
  height: number;
  data: Float32Array;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const kernels: Record<Kernel, { support: number; weight: (x: number) => number }> = {
  bicubic: {
    support: 2,
    weight: (x) => {
      const d = Math.abs(x);
      if (d <= 1) return 1.5 * d ** 3 - 2.5 * d ** 2 + 1;
      return d < 2 ? -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2 : 0;
    },
  },
  lanczos3: { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

export const emptyPlane = (width: number, height: number): Plane => ({
  width,
  height,
  data: new Float32Array(width * height),
});

interface Taps {
  /** source indices and weights of all target samples, `count` each */
  index: Int32Array;
  weight: Float32Array;
  count: number;
}

const cache = new Map<string, Taps>();

/** Weights of every target sample; borders are mirrored, as imresize does. */
export function resizeTaps(source: number, target: number, kernel: Kernel): Taps {
  const key = `${source}:${target}:${kernel}`;
  const known = cache.get(key);
  if (known) return known;
  const { support, weight } = kernels[kernel];
  const scale = target / source;
  const stretch = Math.min(scale, 1);
  const reach = support / stretch;
  const count = Math.ceil(2 * reach) + 1;
  const taps: Taps = { index: new Int32Array(target * count), weight: new Float32Array(target * count), count };
  for (let i = 0; i < target; i++) {
    const centre = (i + 0.5) / scale - 0.5;
    const first = Math.floor(centre - reach) + 1;
    let sum = 0;
    for (let k = 0; k < count; k++) sum += weight((first + k - centre) * stretch);
    for (let k = 0; k < count; k++) {
      let at = first + k;
      while (at < 0 || at >= source) at = at < 0 ? -1 - at : 2 * source - 1 - at;
      taps.index[i * count + k] = at;
      taps.weight[i * count + k] = weight((first + k - centre) * stretch) / sum;
    }
  }
  cache.set(key, taps);
  return taps;
}

export function resizePlane(plane: Plane, width: number, height: number, kernel: Kernel): Plane {
  const across = resizeTaps(plane.width, width, kernel);
  const down = resizeTaps(plane.height, height, kernel);
  const middle = emptyPlane(width, plane.height);
  for (let y = 0; y < plane.height; y++)
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let k = x * across.count, end = k + across.count; k < end; k++)
        sum += (plane.data[y * plane.width + (across.index[k] ?? 0)] ?? 0) * (across.weight[k] ?? 0);
      middle.data[y * width + x] = sum;
    }
  const out = emptyPlane(width, height);
  for (let y = 0; y < height; y++)
    for (let k = y * down.count, end = k + down.count; k < end; k++) {
      const [row, weight] = [(down.index[k] ?? 0) * width, down.weight[k] ?? 0];
      for (let x = 0; x < width; x++)
        out.data[y * width + x] = (out.data[y * width + x] ?? 0) + (middle.data[row + x] ?? 0) * weight;
    }
  return out;
}
