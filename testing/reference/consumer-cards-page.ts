import { capabilityText, CARDS, rateOf, type Card } from './cards/cards.ts';
import {
  CALIBRATION,
  memoryOf,
  paperRow,
  paperRows,
  predict,
  type LinearFormat,
  type PaperRow,
} from './cards/predict.ts';

const SIZES = [
  [512, 896],
  [640, 1152],
  [768, 1408],
  [1152, 2048],
  [1536, 2560],
] as const;

/** The page's formatter aligns the columns. */
function markdownTable([head = [], ...body]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...body.map(line)].join('\n');
}

const gb = (bytes: number): string => (bytes / 1e9).toFixed(1);

function rangeOf(row: PaperRow, at: PaperRow, card: Card, linear: LinearFormat): string {
  const { low, high } = predict(row, at, card, linear);
  return `${low.toFixed(low < 10 ? 1 : 0)} to ${high.toFixed(high < 10 ? 1 : 0)}`;
}

function cardsTable(): string {
  const head = ['card', 'compute capability', 'memory', 'bf16, fp32 sums', 'fp8, fp32 sums', 'int8', 'GB/s'];
  const rows = CARDS.map((card) => [
    card.name,
    capabilityText(card),
    `${card.memoryGib} GiB`,
    `${(rateOf(card, card.bf16PerCycle) / 1e12).toFixed(0)} T/s`,
    card.fp8PerCycle > 0 ? `${(rateOf(card, card.fp8PerCycle) / 1e12).toFixed(0)} T/s` : '-',
    `${(rateOf(card, card.int8PerCycle) / 1e12).toFixed(0)} T/s`,
    String(card.gigabytesPerSecond),
  ]);
  return markdownTable([head, ...rows]);
}

function speedTable(rows: readonly PaperRow[]): string {
  const at = paperRow(rows, 768, 1408);
  const head = [
    'card',
    '512x896',
    '512x896, sparse 1.5',
    '768x1408',
    'with fp8',
    'with int8 linear layers',
    '1152x2048',
  ];
  const body = CARDS.map((card) => {
    const speed = (height: number, width: number, linear: LinearFormat = 'bf16', sparse = 2): string =>
      rangeOf(paperRow(rows, height, width, sparse), at, card, linear);
    const fits = memoryOf(paperRow(rows, 1152, 2048)) <= card.memoryGib * 2 ** 30;
    return [
      card.name,
      speed(512, 896),
      speed(512, 896, 'bf16', 1.5),
      speed(768, 1408),
      card.fp8PerCycle > 0 ? speed(768, 1408, 'fp8') : '-',
      speed(768, 1408, 'int8'),
      fits ? speed(1152, 2048) : 'does not fit',
    ];
  });
  return markdownTable([head, ...body]);
}

function memoryTable(rows: readonly PaperRow[]): string {
  const head = [
    'size',
    'weights',
    'cache',
    'decoder, pictures, work space',
    'in use, bf16',
    'in use, 8-bit linear layers',
  ];
  const body = SIZES.map(([height, width]) => {
    const row = paperRow(rows, height, width);
    const { weights, kvCache, decoder, pictures, workspace } = row.memory;
    const rest = decoder + pictures + workspace;
    const eight = memoryOf(paperRow(rows, height, width, 2, 'fp8'));
    return [`${height}x${width}`, gb(weights), gb(kvCache), gb(rest), `${gb(memoryOf(row))} GB`, `${gb(eight)} GB`];
  });
  return markdownTable([head, ...body]);
}

/** The largest of SIZES that a card with so much memory holds, of which half a GB belongs to the desktop. */
function planTable(rows: readonly PaperRow[]): string {
  const largest = (gib: number, precision: string): string => {
    const room = gib * 2 ** 30 - 0.5e9;
    const fitting = SIZES.filter(([height, width]) => memoryOf(paperRow(rows, height, width, 2, precision)) <= room);
    const last = fitting.at(-1);
    return last ? `${last[0]}x${last[1]}` : 'nothing of these';
  };
  const body = [6, 8, 10, 12, 16, 24, 32].map((gib) => [`${gib} GiB`, largest(gib, 'bf16'), largest(gib, 'fp8')]);
  return markdownTable([['card', 'largest in bf16', 'largest with 8-bit linear layers'], ...body]);
}

/** docs/consumer-cards.md: speed and memory on cards that nobody here has measured, predicted from counted instructions. */
export function consumerCardsPage(): string {
  const rows = paperRows();
  const at = paperRow(rows, 768, 1408);
  const operations = Object.values(at.instructions).reduce((sum, count) => sum + count, 0) * 4096;
  return `# FlashVSR on the cards people own

Made by \`npm run docs\` from \`testing/reference/cards\` and \`bench/results/cards-on-paper.json\`; do not edit.

**Nothing on this page was measured on the card it names.** Speeds are predictions from counted instructions and published rates; memory
is what the engine plans. A measured row is welcome: \`npm run bench:engine -- report\` prints one for the issue template "Speed or quality
on your machine".

Cards other than Hopper run the portable kernels (\`kernels/smxx\`: \`mma.sync\`, \`cp.async\`, at most 99 KB of shared memory), so this page
counts those. \`npm run check:kernels -- --launches\` runs whole chunks of the CUDA backend for a card of every compute capability on paper and
holds every launch against the card's threads, registers and shared memory.
Registers, spills and shared memory of every kernel by architecture: \`bench/results/kernels-ptxas-2026-11-30.txt.gz\`.

## Frames a second

${speedTable(rows)}

Columns are output sizes in bf16, \`sparseRatio\` 2 unless named. fp8: e4m3 in the linear layers alone, which is what \`precision: fp8\` does without
Hopper's kernels. int8: the linear layers at the card's int8 rate, \`precision: int8\`. Measured so far on an H200 alone, where the portable path
made 43.6 frames/s in int8 and 39.1 in bf16 at 768x1408 (2026-12-01, \`bench/results/int8-2026-12-01.txt\`). 30 or more in a column means live at 30 frames/s.

How a range is made. A steady chunk of 8 frames at 768x1408 issues ${(operations / 1e12).toFixed(1)} T operations on tensor cores, counted from the
arguments of every launch. On an H200 the portable path took ${CALIBRATION.stagesMs.join(' / ')} ms (project, denoise, reveal, match; ${CALIBRATION.framesPerSecond}
frames/s), where \`mma.sync\` in registers reaches ${CALIBRATION.operationsPerSecond / 1e12} T/s.

- low end: every stage reaches the same share of the card's published rate as it reached of that rate on the H200
- high end: what the H200 spent beside its tensor cores takes the same number of multiprocessor cycles; the tensor cores run at the published rate
- no stage is faster than its bytes at 85 % of the published bandwidth

Not in it: clocks below boost (a power limit of 72 W on an L4), what else uses the card, encoding and decoding of video.

## Memory

${memoryTable(rows)}

GB of 10^9 bytes for one stream, \`kvRatio\` 3, with ${(0.56).toFixed(2)} GB for the driver's context; the cache grows with the picture's area. A second stream
of the same size needs all of it again but the weights and the context.

${planTable(rows)}

Half a GB is left to the desktop. The sizes are those of the table above; any multiple of 128 works, and a stream that does not fit is refused with its
numbers and the largest size of the same shape that would fit. \`kvRatio\` 2 takes a third off the cache, \`sparseRatio\` changes speed and not memory.

## Cards

${cardsTable()}

Published rates without sparsity: multiprocessors x boost clock x operations a cycle.
`;
}
