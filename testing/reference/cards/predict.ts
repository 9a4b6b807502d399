import { readFileSync } from 'node:fs';
import { rateOf, type Card } from './cards.ts';

/** One size as `flashvsr_paper --json` counted it: a steady chunk of 8 frames by the portable kernels, and its memory. */
export interface PaperRow {
  readonly height: number;
  readonly width: number;
  readonly sparseRatio: number;
  readonly precision: 'bf16' | 'fp8' | 'int8';
  /** Tensor-core instructions: m16n8k16 on bf16, m16n8k32 on 8-bit operands. */
  readonly instructions: {
    readonly projector: number;
    readonly linear: number;
    readonly linear8: number;
    readonly sparseAttention: number;
    readonly crossAttention: number;
    readonly decoder: number;
  };
  /** By stage: project, denoise, reveal, match. */
  readonly gigabytesMoved: readonly [number, number, number, number];
  /** Bytes. */
  readonly memory: {
    readonly weights: number;
    readonly kvCache: number;
    readonly decoder: number;
    readonly pictures: number;
    readonly workspace: number;
  };
}

/** What the linear layers' products are made of; attention and convolutions are bf16 in the portable kernels. */
export type LinearFormat = 'bf16' | 'fp8' | 'int8';

export function paperRows(): readonly PaperRow[] {
  const file = readFileSync(new URL('../../../bench/results/cards-on-paper.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { rows: PaperRow[] }).rows;
}

export function paperRow(
  rows: readonly PaperRow[],
  height: number,
  width: number,
  sparseRatio = 2,
  precision = 'bf16',
): PaperRow {
  const found = rows.find(
    (row) =>
      row.height === height && row.width === width && row.sparseRatio === sparseRatio && row.precision === precision,
  );
  if (!found) throw new Error(`cards-on-paper.json has no ${height}x${width}, ${sparseRatio}, ${precision}`);
  return found;
}

const FRAMES = 8;
const OPERATIONS = 2 * 16 * 8 * 16;

/**
 * The portable kernels at 768x1408 in bf16 on an H200 (bench/results/engine-directions-2026-11-30.txt, new, round 1), and that card: its
 * mma.sync rate in loops of registers alone, measured the same day, and the clock that it holds in a whole network.
 */
export const CALIBRATION = {
  stagesMs: [14.651, 143.989, 42.956, 0.667],
  framesPerSecond: 39.45,
  operationsPerSecond: 632e12,
  multiprocessors: 132,
  clockGhz: 1.75,
} as const;

/** Device memory in use beyond what is planned: the driver's context and the loaded kernels (measured on an H100: 0.56 GB). */
export const CONTEXT_BYTES = 0.56e9;

const bytesOf = (row: PaperRow): number => Object.values(row.memory).reduce((sum, bytes) => sum + bytes, 0);
export const memoryOf = (row: PaperRow): number => bytesOf(row) + CONTEXT_BYTES;

/** Tensor-core milliseconds by stage at 100 % of a card's published rates. */
function tensorMs(
  row: PaperRow,
  linear: LinearFormat,
  bf16Rate: number,
  rate8: number,
): [number, number, number, number] {
  const { projector, linear: products, sparseAttention, crossAttention, decoder } = row.instructions;
  const ms = (instructions: number, rate: number): number => ((instructions * OPERATIONS) / rate) * 1e3;
  const linearMs = ms(products, linear === 'bf16' ? bf16Rate : rate8);
  return [ms(projector, bf16Rate), linearMs + ms(sparseAttention + crossAttention, bf16Rate), ms(decoder, bf16Rate), 0];
}

/**
 * Frames a second, as a range.
 *
 * low: each stage reaches the share of the published tensor-core rate that it reached of the mma.sync rate on the H200.
 * high: what the H200 spent beside its tensor cores (softmax, norms, epilogues, waiting) takes as many cycles of as many
 *   multiprocessors here, and tensor cores take what their published rate says. Cards whose tensor cores are slower against the
 *   rest than Hopper's come nearer to it.
 * In both no stage is faster than its bytes allow at 85 % of the published bandwidth.
 */
export function predict(
  row: PaperRow,
  calibrationRow: PaperRow,
  card: Card,
  linear: LinearFormat,
): { low: number; high: number } {
  if (row.precision !== 'bf16') throw new Error('instructions are scaled from bf16: pass a row of bf16');
  const bf16Rate = rateOf(card, card.bf16PerCycle);
  const perCycle = { bf16: card.bf16PerCycle, fp8: card.fp8PerCycle, int8: card.int8PerCycle }[linear];
  if (perCycle === 0) throw new Error(`${card.name} has no ${linear}`);
  const here = tensorMs(row, linear, bf16Rate, rateOf(card, perCycle));
  const hopper = CALIBRATION.operationsPerSecond;
  const there = tensorMs(calibrationRow, 'bf16', hopper, hopper);
  const thereAtSize = tensorMs(row, 'bf16', hopper, hopper);
  const pixels = (row.width * row.height) / (calibrationRow.width * calibrationRow.height);
  const cycles = (CALIBRATION.multiprocessors * CALIBRATION.clockGhz) / (card.multiprocessors * card.boostGhz);
  let low = 0;
  let high = 0;
  for (const stage of [0, 1, 2, 3] as const) {
    const measured = CALIBRATION.stagesMs[stage];
    const bytesMs = (row.gigabytesMoved[stage] / (card.gigabytesPerSecond * 0.85)) * 1e3;
    // The last stage has no tensor-core work and grows with the picture.
    const growth = there[stage] > 0 ? thereAtSize[stage] / there[stage] : pixels;
    const beside = (measured - there[stage]) * growth * cycles;
    low += Math.max(bytesMs, there[stage] > 0 ? here[stage] * (measured / there[stage]) : beside);
    high += Math.max(bytesMs, here[stage] + beside);
  }
  const ends = [low, high].map((ms) => (FRAMES / ms) * 1e3);
  return { low: Math.min(...ends), high: Math.max(...ends) };
}
