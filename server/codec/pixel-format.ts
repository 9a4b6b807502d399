import type { AVPixelFormat } from 'node-av/constants';
import { avGetPixFmtName, type Frame } from 'node-av/lib';

/** What a pixel format holds, read from FFmpeg's name of it: node-av does not hand its descriptors out. */
export interface PixelFormat {
  readonly name: string;
  /** RGB, also by a palette. */
  readonly rgb: boolean;
  readonly alpha: boolean;
  /** The first plane holds luma alone. */
  readonly planar: boolean;
  /** Bits of a sample: 8 for all that have no more. */
  readonly depth: number;
}

const known = new Map<number, PixelFormat>();

export function pixelFormatOf(frame: Frame): PixelFormat {
  const found = known.get(frame.format);
  if (found !== undefined) return found;
  const format = describePixelFormat(avGetPixFmtName(frame.format as AVPixelFormat) ?? '');
  known.set(frame.format, format);
  return format;
}

/** @param name for example `yuva444p12le`, `gbrp10le`, `rgb48be`, `gray16le`, `p010le`, `x2rgb10le` */
export function describePixelFormat(name: string): PixelFormat {
  const rgb = /^(x2)?(rgb|bgr)|^gbr|^[a0](rgb|bgr)|^pal8/.test(name);
  const alpha = /^yuva|^gbrap|^rgba|^bgra|^argb|^abgr|^ya\d|^pal8|^ayuv|^vuya/.test(name);
  const planar = /^(yuvj?a?4|gray|nv\d|p[024]1)/.test(name);
  return { name, rgb, alpha, planar, depth: depthOf(name) };
}

function depthOf(name: string): number {
  if (/^(rgb|bgr)48|^(rgba|bgra)64|^ya16/.test(name)) return 16;
  if (/^x2(rgb|bgr)10|^v30x|^xv30|^y210/.test(name)) return 10;
  if (/^xv36|^y212|^xyz12/.test(name)) return 12;
  if (/f32|f16/.test(name)) return 16;
  // yuv420p10le, gbrap12be, gray10le; p010le, nv20le.
  const depth = /(?:p|gray|ya)(9|10|12|14|16)[lb]e$/.exec(name)?.[1] ?? /^p[024](10|12|16)[lb]e$/.exec(name)?.[1];
  if (depth !== undefined) return Number(depth);
  return name.startsWith('nv20') ? 10 : 8;
}
