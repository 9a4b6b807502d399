/** Bicubic (Catmull-Rom) enlargement of one plane: the yardstick for what a resize must look like, apart from the server's code. */
export function resizeLuma(
  source: Uint8Array,
  width: number,
  height: number,
  toWidth: number,
  toHeight: number,
): Uint8Array {
  const across = new Float32Array(toWidth * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < toWidth; x += 1)
      across[y * toWidth + x] = sample((at) => source[y * width + at] ?? 0, x, width, toWidth);
  }
  const result = new Uint8Array(toWidth * toHeight);
  for (let x = 0; x < toWidth; x += 1) {
    for (let y = 0; y < toHeight; y += 1) {
      const value = sample((at) => across[at * toWidth + x] ?? 0, y, height, toHeight);
      result[y * toWidth + x] = Math.min(255, Math.max(0, Math.round(value)));
    }
  }
  return result;
}

function sample(read: (at: number) => number, to: number, from: number, length: number): number {
  const centre = ((to + 0.5) * from) / length - 0.5;
  const base = Math.floor(centre);
  let sum = 0;
  for (let tap = base - 1; tap <= base + 2; tap += 1) {
    sum += read(Math.min(from - 1, Math.max(0, tap))) * cubic(Math.abs(centre - tap));
  }
  return sum;
}

/** Keys' kernel with a = -0.5. */
function cubic(x: number): number {
  if (x < 1) return 1.5 * x ** 3 - 2.5 * x ** 2 + 1;
  return x < 2 ? -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2 : 0;
}
