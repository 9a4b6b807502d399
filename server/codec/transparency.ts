import type { Frame } from 'node-av/lib';
import { FrameFilter } from './frame-filter.ts';
import { planesOf } from './frame-picture.ts';
import { pixelFormatOf } from './pixel-format.ts';

/** Where the alpha sample of a packed pixel lies, of how many samples. */
const PACKED: readonly (readonly [name: RegExp, at: number, samples: number])[] = [
  [/^(argb|abgr|ayuv)/, 0, 4],
  [/^(rgba|bgra|vuya)/, 3, 4],
  [/^ya/, 1, 2],
];

/** Whether any pixel of the frame lets through what lies behind it. */
export async function isTransparent(frame: Frame): Promise<boolean> {
  const { name, alpha } = pixelFormatOf(frame);
  if (!alpha) return false;
  if (name !== 'pal8') return hasLowAlpha(frame, name);
  // node-av does not hand the palette out.
  const filter = new FrameFilter('format=rgba', frame, { num: 1, den: 1 });
  try {
    const [resolved] = await filter.push(frame);
    const found = resolved !== undefined && hasLowAlpha(resolved, 'rgba');
    resolved?.free();
    return found;
  } finally {
    filter.close();
  }
}

function hasLowAlpha(frame: Frame, name: string): boolean {
  // Floating point is not looked at.
  if (/f(16|32)/.test(name)) return true;
  const planes = planesOf(frame);
  const packed = PACKED.find(([pattern]) => pattern.test(name));
  const index = packed === undefined ? 3 : 0;
  const [, at, samples] = packed ?? [undefined, 0, 1];
  const plane = planes[index] ?? Buffer.alloc(0);
  const stride = frame.linesize[index] ?? 0;
  const bits = alphaBits(name);
  const bytes = bits > 8 ? 2 : 1;
  // By the upper eight bits: ProRes of 10 bits decodes to 12, and opaque pixels are 4083 there.
  const opaque = 2 ** bits - 2 ** (bits - 8);
  const [low, high] = name.endsWith('be') ? [1, 0] : [0, 1];
  for (let y = 0; y < frame.height; y += 1) {
    const row = y * stride;
    for (let x = 0; x < frame.width; x += 1) {
      const offset = row + (x * samples + at) * bytes;
      const sample =
        bytes === 1 ? (plane[offset] ?? 0) : (plane[offset + low] ?? 0) + 256 * (plane[offset + high] ?? 0);
      if (sample < opaque) return true;
    }
  }
  return false;
}

/** `rgba64le` and `ya16be` count otherwise than `yuva444p12le` and `gbrap10be`. */
function alphaBits(name: string): number {
  if (/^(rgba|bgra|ayuv)64|^ya16/.test(name)) return 16;
  return Number(/p(9|10|12|14|16)[lb]e$/.exec(name)?.[1] ?? /^gbrap(10|12|14|16)/.exec(name)?.[1] ?? 8);
}
