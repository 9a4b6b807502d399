/** One clip over one line: shrunk, encoded, decoded; which picture is on the screen at each time of the truth. */
import { Decoder } from '../../server/codec/decoder.ts';
import { PictureScaler } from '../../server/codec/scaler.ts';
import type { Picture } from '../../server/media/picture.ts';
import type { SourceCodec } from '../../server/media/types.ts';
import { halfSize, type I420 } from '../quality/colour.ts';
import { asPicture } from '../quality/timing.ts';
import { FRAMES_PER_SECOND, type BitsClip } from './clips.ts';
import { encode } from './encoders.ts';

export interface Sending {
  codec: SourceCodec;
  /** Lines sent; the width follows by the clip's aspect. */
  shortSide: number;
  framesPerSecond: number;
  /** Wanted of the encoder, bit/s. */
  bitrateBps: number;
}

export interface Sent {
  /** Decoded pictures by the number of the truth's frame at whose time they appear. */
  pictures: ReadonlyMap<number, I420>;
  /** What the stream really took from frame `from` on. */
  kbps: number;
  /** Pictures a second that really appeared from frame `from` on. */
  shownFps: number;
}

/** libav counts pictures padded to whole blocks. */
const MAX_PIXELS = 2048 * 1280;
const TICKS = 90_000 / FRAMES_PER_SECOND;

/** A copy with tight rows; luma, U, V. */
export function packed({ width, height, y, u, v, yStride, uvStride }: Picture): I420 {
  const [w, h] = [halfSize(width), halfSize(height)];
  const data = new Uint8Array(width * height + 2 * w * h);
  const copy = (plane: Uint8Array, stride: number, columns: number, rows: number, at: number): void => {
    for (let row = 0; row < rows; row++)
      data.set(plane.subarray(row * stride, row * stride + columns), at + row * columns);
  };
  copy(y, yStride, width, height, 0);
  copy(u, uvStride, w, h, width * height);
  copy(v, uvStride, w, h, width * height + w * h);
  return { width, height, data };
}

/** Bicubic by swscale with exact rounding. A frame of that size already is returned as it is. */
export class Resizer {
  readonly #scaler: PictureScaler;

  constructor(width: number, height: number) {
    this.#scaler = new PictureScaler(width, height, 'bicubic', 1, true);
  }

  resize(frame: I420): I420 {
    if (frame.width === this.#scaler.width && frame.height === this.#scaler.height) return frame;
    const picture = this.#scaler.scale(asPicture(frame, 0));
    const result = packed(picture);
    picture.release();
    return result;
  }

  close(): void {
    this.#scaler.close();
  }
}

/** Even, as encoders want it. */
export const widthFor = (clip: BitsClip, shortSide: number): number => {
  const { width, height } = clip.seen[0] as I420;
  return 2 * Math.round((shortSide * width) / height / 2);
};

/** @param from first frame that counts: what is before lets rate control and models settle */
export function send(clip: BitsClip, sending: Sending, from: number): Sent {
  const { codec, shortSide, framesPerSecond, bitrateBps } = sending;
  const width = widthFor(clip, shortSide);
  const every = FRAMES_PER_SECOND / framesPerSecond;
  const resizer = new Resizer(width, shortSide);
  const numbers = clip.seen.flatMap((_, t) => (t % every === 0 ? [t] : []));
  function* pictures(): Generator<Picture> {
    for (const t of numbers) yield asPicture(resizer.resize(clip.seen[t] as I420), t * TICKS);
  }
  const settings = { codec, width, height: shortSide, framesPerSecond, bitrateBps, content: clip.content };
  const units = encode(settings, pictures());
  resizer.close();
  const decoder = new Decoder({ codec, maxPixels: MAX_PIXELS });
  const shown = new Map<number, I420>();
  let bits = 0;
  for (const unit of units) {
    const t = Math.round(unit.mediaTime / TICKS);
    if (t >= from) bits += 8 * unit.data.length;
    for (const picture of decoder.decode(unit)) {
      shown.set(t, packed(picture));
      picture.release();
    }
  }
  decoder.close();
  const seconds = (clip.seen.length - from) / FRAMES_PER_SECOND;
  const late = [...shown.keys()].filter((t) => t >= from).length;
  return { pictures: shown, kbps: bits / seconds / 1000, shownFps: late / seconds };
}
