import type { AccessUnit, ResultCodec, Colour } from '../server/media/types.ts';
import { monotonicUs } from '../server/media/clock.ts';
import { newTrace } from '../server/media/steps.ts';
import { Encoder } from '../server/codec/encoder.ts';
import type { Picture } from '../server/media/picture.ts';

/** Pictures and streams made in memory for tests. */

export const BT601: Colour = { matrix: 'bt601', range: 'limited' };

/** A picture in ordinary memory with tight strides; `paint` gives each luma sample, chroma is constant. */
export function makePicture(
  width: number,
  height: number,
  mediaTime: number,
  paint: (x: number, y: number) => number = (x, y) => 16 + ((x + y) % 220),
  chroma: readonly [number, number] = [128, 128],
  colour: Colour = BT601,
): Picture {
  const chromaWidth = (width + 1) >> 1;
  const chromaHeight = (height + 1) >> 1;
  const y = new Uint8Array(width * height);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) y[row * width + column] = paint(column, row);
  }
  return {
    width,
    height,
    y,
    u: new Uint8Array(chromaWidth * chromaHeight).fill(chroma[0]),
    v: new Uint8Array(chromaWidth * chromaHeight).fill(chroma[1]),
    yStride: width,
    uvStride: chromaWidth,
    colour,
    mediaTime,
    trace: newTrace(0, 0),
  };
}

/** A soft gradient with a bar that moves with the frame's number: easy to code, impossible to mistake for its neighbour. */
export function movingBar(number: number, width: number): (x: number, y: number) => number {
  const bar = (number * 6) % width;
  return (x, y) => (Math.abs(x - bar) < 8 ? 220 : 40 + (((x + 2 * y) >> 3) % 120));
}

export interface StreamOptions {
  readonly codec: ResultCodec;
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  readonly framesPerSecond?: number;
  readonly bitrateBps?: number;
  /** Frame numbers forced to be keyframes besides the first. */
  readonly keyframes?: readonly number[];
  readonly firstMediaTime?: number;
  /** Luma of a picture by its number; a moving bar otherwise. */
  readonly paint?: (number: number) => (x: number, y: number) => number;
}

/** A publisher's access units, as the assembler hands them on. */
export function makeStream(options: StreamOptions): AccessUnit[] {
  const { codec, width, height, frames, framesPerSecond = 30, bitrateBps = 800_000, firstMediaTime = 0 } = options;
  const encoder = new Encoder({
    codec,
    width,
    height,
    bitrateBps,
    colour: BT601,
    framesPerSecond,
    keyframeIntervalSeconds: 60,
    keyframeMaxRatio: 10,
  });
  const units: AccessUnit[] = [];
  for (let number = 0; number < frames; number += 1) {
    const mediaTime = firstMediaTime + Math.round((number * 90_000) / framesPerSecond);
    const paint = options.paint?.(number) ?? movingBar(number, width);
    const picture = makePicture(width, height, mediaTime, paint);
    for (const encoded of encoder.encode(picture, options.keyframes?.includes(number) ?? false)) {
      const now = monotonicUs();
      const { data, keyframe } = encoded;
      units.push({ codec, data, mediaTime: encoded.mediaTime, keyframe, receivedAtUs: now, assembledAtUs: now });
    }
  }
  encoder.close();
  return units;
}

/** Mean absolute luma difference of two pictures of one size. */
export function lumaDifference(a: Picture, b: Picture): number {
  let sum = 0;
  for (let row = 0; row < a.height; row += 1) {
    for (let column = 0; column < a.width; column += 1) {
      sum += Math.abs((a.y[row * a.yStride + column] ?? 0) - (b.y[row * b.yStride + column] ?? 0));
    }
  }
  return sum / (a.width * a.height);
}
