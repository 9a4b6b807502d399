/** Layers of converted networks, computed the plain way: what the converters' files must agree with. Shape (channels, height, width). */

export interface Maps {
  channels: number;
  height: number;
  width: number;
  data: Float32Array;
}

export const maps = (
  channels: number,
  height: number,
  width: number,
  value: (c: number, y: number, x: number) => number,
): Maps => {
  const data = new Float32Array(channels * height * width);
  let i = 0;
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) data[i++] = value(c, y, x);
  return { channels, height, width, data };
};

export const read = ({ channels, height, width, data }: Maps, c: number, y: number, x: number): number =>
  c < 0 || y < 0 || x < 0 || c >= channels || y >= height || x >= width
    ? 0
    : (data[(c * height + y) * width + x] as number);

/** weights (outputs, inputs, k, k), zero padding. */
export function convolve(
  input: Maps,
  outputs: number,
  k: number,
  weights: ArrayLike<number>,
  bias: ArrayLike<number>,
): Maps {
  return maps(outputs, input.height, input.width, (o, y, x) => {
    let sum = bias[o] ?? 0;
    for (let i = 0; i < input.channels; i++)
      for (let v = 0; v < k; v++)
        for (let u = 0; u < k; u++)
          sum +=
            (weights[((o * input.channels + i) * k + v) * k + u] as number) *
            read(input, i, y + v - (k - 1) / 2, x + u - (k - 1) / 2);
    return sum;
  });
}

export const prelu = (input: Maps, slopes: ArrayLike<number>): Maps =>
  maps(input.channels, input.height, input.width, (c, y, x) => {
    const value = read(input, c, y, x);
    return value < 0 ? value * (slopes[c] as number) : value;
  });

/** `CRD`: channel = (c * s + dy) * s + dx, as PyTorch; `DCR`: (dy * s + dx) * channels + c, as TensorFlow. */
export function shuffle(input: Maps, s: number, order: 'CRD' | 'DCR'): Maps {
  const channels = input.channels / s ** 2;
  return maps(channels, input.height * s, input.width * s, (c, y, x) => {
    const [dy, dx] = [y % s, x % s];
    const from = order === 'CRD' ? (c * s + dy) * s + dx : (dy * s + dx) * channels + c;
    return read(input, from, Math.floor(y / s), Math.floor(x / s));
  });
}

export const nearest = (input: Maps, s: number): Maps =>
  maps(input.channels, input.height * s, input.width * s, (c, y, x) =>
    read(input, c, Math.floor(y / s), Math.floor(x / s)),
  );
