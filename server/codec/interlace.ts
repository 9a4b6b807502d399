import { AV_FRAME_FLAG_INTERLACED, AV_FRAME_FLAG_TOP_FIELD_FIRST } from 'node-av/constants';
import type { CodecContext, Frame } from 'node-av/lib';
import { FrameFilter } from './frame-filter.ts';
import { planesOf } from './frame-picture.ts';
import { pixelFormatOf } from './pixel-format.ts';

/** Which of a picture's fields was first. */
export type FieldOrder = 'top' | 'bottom';

/** How a file's pictures are interlaced. `by`: who says so, the frames' flags, the container, or the pictures themselves. */
export interface Interlace {
  readonly order: FieldOrder;
  readonly by: 'frames' | 'container' | 'pictures';
}

/** Pictures looked at before the first one goes on. Interlaced video has at most 1152 lines. */
export const LOOK_AT = 16;
export const MAX_INTERLACED_LINES = 1152;
/** Fewer decided pictures than this say nothing. */
const ENOUGH = 4;
/** As av_field_order, in the order of its values: unknown, progressive, tt, bb, tb, bt (coded first, shown first). */
const CONTAINER_ORDERS: readonly (FieldOrder | 'progressive' | undefined)[] = [
  ...([undefined, 'progressive', 'top', 'bottom', 'bottom', 'top'] as const),
];

/**
 * Flags first; the pictures (libavfilter's idet) decide where nothing is flagged, and which field was first where they show it clearly:
 * recorders and editors get both wrong.
 * @returns undefined for progressive pictures
 */
export async function findInterlace(frames: readonly Frame[], decoder: CodecContext): Promise<Interlace | undefined> {
  const flagged = frames.filter((frame) => frame.hasFlags(AV_FRAME_FLAG_INTERLACED));
  const seen = await look(frames);
  const [first] = flagged;
  if (first !== undefined) return { order: seen.order ?? orderOf(first), by: 'frames' };
  const named = CONTAINER_ORDERS[Number(decoder.getOption('field_order') ?? 0)];
  if (named === 'top' || named === 'bottom')
    return seen.progressive ? undefined : { order: seen.order ?? named, by: 'container' };
  return seen.order === undefined || seen.progressive ? undefined : { order: seen.order, by: 'pictures' };
}

export function orderOf(frame: Frame): FieldOrder {
  return frame.hasFlags(AV_FRAME_FLAG_TOP_FIELD_FIRST) ? 'top' : 'bottom';
}

/** Writes into the frame's flags what it is. */
export function flagFrame(frame: Frame, order: FieldOrder | undefined): void {
  if (order === undefined) frame.clearFlags(AV_FRAME_FLAG_INTERLACED, AV_FRAME_FLAG_TOP_FIELD_FIRST);
  else frame.setFlags(AV_FRAME_FLAG_INTERLACED);
  if (order === 'top') frame.setFlags(AV_FRAME_FLAG_TOP_FIELD_FIRST);
  if (order === 'bottom') frame.clearFlags(AV_FRAME_FLAG_TOP_FIELD_FIRST);
}

/** What the pictures themselves show, where it is clear. */
async function look(frames: readonly Frame[]): Promise<{ order?: FieldOrder; progressive: boolean }> {
  const [like] = frames;
  if (like === undefined || frames.length < ENOUGH || like.height > MAX_INTERLACED_LINES) return { progressive: false };
  const { rgb, planar } = pixelFormatOf(like);
  if (rgb || !planar) return { progressive: false };
  const same = frames.filter(({ width, height, format }) => {
    return width === like.width && height === like.height && format === like.format;
  });
  const counts = await countTypes(same, like);
  const [top, bottom, progressive] = [counts('tff'), counts('bff'), counts('progressive')];
  const decided = top + bottom + progressive;
  if (decided >= ENOUGH) {
    if (progressive >= 0.8 * decided) return { progressive: true };
    if (top >= 0.7 * decided) return { order: 'top', progressive: false };
    if (bottom >= 0.7 * decided) return { order: 'bottom', progressive: false };
  }
  const order = orderByMotion(same);
  return order === undefined ? { progressive: false } : { order, progressive: false };
}

/** By libavfilter's idet, strict enough that drawn test pictures and text are not taken for fields. */
async function countTypes(frames: readonly Frame[], like: Frame): Promise<(type: string) => number> {
  const counts = new Map<string, number>();
  const filter = new FrameFilter('idet=intl_thres=1.3', like, { num: 1, den: 25 });
  try {
    for (const frame of [...frames, null]) {
      for (const result of await filter.push(frame)) {
        const type = result.getMetadata().get('lavfi.idet.single.current_frame') ?? '';
        counts.set(type, (counts.get(type) ?? 0) + 1);
        result.free();
      }
    }
  } finally {
    filter.close();
  }
  return (type) => counts.get(type) ?? 0;
}

/** Levels (of 8 bits) by which a sample must change to count as moving. */
const MOVES = 12;
/** Fewer moving samples than this say nothing. */
const ENOUGH_MOVING = 2000;
/** Samples of a picture looked at; columns are left out beyond. */
const SAMPLES = 160_000;

/**
 * As idet, but only where something moves, so that still detail does not hide it: each line between its neighbours, taken from this
 * picture, from the one before and from the one after. Fields of one moment fit their own picture best. Fields of two moments fit
 * one neighbour about as well, the one on the side of the field that was first.
 */
function orderByMotion(frames: readonly Frame[]): FieldOrder | undefined {
  let [moving, own, topFirst, bottomFirst] = [0, 0, 0, 0];
  for (let index = 1; index + 1 < frames.length; index += 1) {
    const [before, here, after] = frames.slice(index - 1, index + 2).map(lumaOf) as [Luma, Luma, Luma];
    const { width, height, scale } = here;
    const step = Math.ceil((width * height) / SAMPLES);
    for (let y = 2; y < height - 2; y += 1) {
      for (let x = 0; x < width; x += step) {
        const sample = here.at(x, y);
        const [old, next] = [before.at(x, y), after.at(x, y)];
        if (Math.abs(sample - old) < MOVES * scale && Math.abs(sample - next) < MOVES * scale) continue;
        const around = here.at(x, y - 1) + here.at(x, y + 1);
        const [toOld, toNext] = [Math.abs(around - 2 * old), Math.abs(around - 2 * next)];
        moving += 1;
        own += Math.abs(around - 2 * sample);
        topFirst += y % 2 === 0 ? toNext : toOld;
        bottomFirst += y % 2 === 0 ? toOld : toNext;
      }
    }
  }
  const [fits, misfits] = topFirst < bottomFirst ? [topFirst, bottomFirst] : [bottomFirst, topFirst];
  if (moving < ENOUGH_MOVING || fits > 1.1 * own || misfits < 1.4 * fits) return undefined;
  return topFirst < bottomFirst ? 'top' : 'bottom';
}

interface Luma {
  readonly width: number;
  readonly height: number;
  /** 1 for 8 bits, 4 for 10, ... */
  readonly scale: number;
  readonly at: (x: number, y: number) => number;
}

function lumaOf(frame: Frame): Luma {
  const { width, height } = frame;
  const { depth } = pixelFormatOf(frame);
  const [plane = Buffer.alloc(0)] = planesOf(frame);
  const [stride = 0] = frame.linesize;
  const wide = depth > 8;
  const samples = wide ? new Uint16Array(plane.buffer, plane.byteOffset, plane.length >> 1) : plane;
  const row = wide ? stride >> 1 : stride;
  return { width, height, scale: 2 ** (depth - 8), at: (x, y) => samples[y * row + x] ?? 0 };
}
