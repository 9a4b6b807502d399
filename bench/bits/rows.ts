/** What was measured, a line of JSON each, so that a run that ends early has lost nothing and may go on. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import type { SourceCodec } from '../../server/media/types.ts';
import type { UpscalerName } from './options.ts';

export interface BitsRow {
  clip: string;
  content: 'camera' | 'screen';
  codec: SourceCodec;
  shortSide: number;
  framesPerSecond: number;
  /** Wanted of the encoder, and what the stream took. */
  targetKbps: number;
  kbps: number;
  /** Pictures a second that appeared at the viewer's. */
  shownFps: number;
  upscaler: UpscalerName;
  goal: number;
  psnrDb: number;
  ssim: number;
  /** MS-GMSD, lower is better. */
  perceptual: number;
}

type Cell = Omit<BitsRow, 'content' | 'kbps' | 'shownFps' | 'psnrDb' | 'ssim' | 'perceptual'>;

const keyOf = ({ clip, codec, shortSide, framesPerSecond, targetKbps, upscaler, goal }: Cell): string =>
  [clip, codec, shortSide, framesPerSecond, targetKbps, upscaler, goal].join(' ');

export class RowFile {
  readonly path: string;
  readonly #rows = new Map<string, BitsRow>();

  /** @throws SyntaxError when a line is no JSON */
  constructor(path: string) {
    this.path = path;
    if (!existsSync(path)) return;
    for (const line of readFileSync(path, 'utf8').split('\n').filter(Boolean)) {
      const row = JSON.parse(line) as BitsRow;
      this.#rows.set(keyOf(row), row);
    }
  }

  get rows(): BitsRow[] {
    return [...this.#rows.values()];
  }

  has(cell: Cell): boolean {
    return this.#rows.has(keyOf(cell));
  }

  add(row: BitsRow): void {
    this.#rows.set(keyOf(row), row);
    appendFileSync(this.path, `${JSON.stringify(row)}\n`);
  }
}
