import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { newTrace } from '../server/media/steps.ts';
import type { Picture } from '../server/media/picture.ts';

const root = fileURLToPath(new URL('../', import.meta.url));

export const GOLDEN_WEIGHTS = `${root}testdata/golden/weights`;

/** Without a compiler there is no addon and nothing to test; where it is required, a missing one must fail. */
export const HAVE_ADDON =
  existsSync(process.env['FLASHVSR_ADDON'] ?? `${root}build/addon/Release/flashvsr.node`) ||
  process.env['FLASHVSR_REQUIRE_ADDON'] === '1';

/** A moving ramp, so that no two pictures are the same. */
export function ramp(number: number, width = 32, height = 32, rest: Partial<Picture> = {}): Picture {
  const chroma = ((width + 1) >> 1) * ((height + 1) >> 1);
  const y = Uint8Array.from({ length: width * height }, (_, at) => 40 + (((at % width) * 5 + number * 7) % 160));
  return {
    width,
    height,
    y,
    u: new Uint8Array(chroma).fill(118),
    v: new Uint8Array(chroma).fill(136),
    yStride: width,
    uvStride: (width + 1) >> 1,
    colour: { matrix: 'bt601', range: 'limited' },
    mediaTime: number * 3000,
    trace: newTrace(number, 0),
    ...rest,
  };
}
