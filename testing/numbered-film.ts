import type { Film } from './film.ts';
import { readNumber, type NumberedVideo } from './numbered-video.ts';

/** What a film shows of a numbered video: which picture at which time, and how like it is. */
export interface SeenPicture {
  readonly number: number;
  readonly seconds: number;
}

/** @throws Error for a picture without a readable number: torn, blended or something else */
export function picturesOf(film: Film): SeenPicture[] {
  return film.times.map((seconds, index) => {
    const number = readNumber((x, y) => film.luma(index, Math.floor(x * film.width), Math.floor(y * film.height)));
    if (number < 0) throw new Error(`picture ${index} at ${seconds} s is no numbered one`);
    return { number, seconds };
  });
}

/** Of luma, dB, after averaging picture `index` down to the video's size, which divides its own. */
export function likeness(film: Film, index: number, number: number, { width, height, frames }: NumberedVideo): number {
  const scale = film.width / width;
  const source = frames[number];
  let sum = 0;
  for (let y = 0; y < height; y += 1)
    for (let x = 0; x < width; x += 1) {
      let luma = 0;
      for (let dy = 0; dy < scale; dy += 1)
        for (let dx = 0; dx < scale; dx += 1) luma += film.luma(index, x * scale + dx, y * scale + dy);
      sum += (luma / scale ** 2 - (source?.[y * width + x] ?? 0)) ** 2;
    }
  return 10 * Math.log10((255 ** 2 * width * height) / sum);
}
