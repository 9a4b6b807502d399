/**
 * Cards as their makers publish them: NVIDIA's white papers on GA100, GA102, AD102 and Blackwell RTX, and the cards' data sheets.
 * Rates follow from multiprocessors x boost clock x operations a cycle, without sparsity; the white papers print the products.
 */
export interface Card {
  readonly name: string;
  /** Compute capability without the dot: 86. */
  readonly capability: number;
  readonly memoryGib: number;
  readonly multiprocessors: number;
  readonly boostGhz: number;
  /** Operations (2 a multiply-add) of one multiprocessor in a cycle: bf16 operands with fp32 sums, int8 with int32 sums. */
  readonly bf16PerCycle: number;
  readonly int8PerCycle: number;
  /** e4m3 operands with fp32 sums; 0: the card has none. */
  readonly fp8PerCycle: number;
  readonly gigabytesPerSecond: number;
}

// GeForce cards multiply 16-bit numbers with fp32 sums at half the rate of the same chip in a data centre card.
const geforceAmpere = { capability: 86, bf16PerCycle: 512, int8PerCycle: 2048, fp8PerCycle: 0 };
const geforceAda = { capability: 89, bf16PerCycle: 512, int8PerCycle: 2048, fp8PerCycle: 1024 };
const proAda = { capability: 89, bf16PerCycle: 1024, int8PerCycle: 2048, fp8PerCycle: 2048 };

export const CARDS: readonly Card[] = [
  { name: 'RTX 3060', memoryGib: 12, multiprocessors: 28, boostGhz: 1.777, gigabytesPerSecond: 360, ...geforceAmpere },
  { name: 'RTX 3090', memoryGib: 24, multiprocessors: 82, boostGhz: 1.695, gigabytesPerSecond: 936, ...geforceAmpere },
  { name: 'RTX 4070', memoryGib: 12, multiprocessors: 46, boostGhz: 2.475, gigabytesPerSecond: 504, ...geforceAda },
  { name: 'RTX 4090', memoryGib: 24, multiprocessors: 128, boostGhz: 2.52, gigabytesPerSecond: 1008, ...geforceAda },
  {
    ...geforceAda,
    name: 'RTX 5090',
    capability: 120,
    memoryGib: 32,
    multiprocessors: 170,
    boostGhz: 2.407,
    gigabytesPerSecond: 1792,
  },
  {
    ...geforceAmpere,
    name: 'A10',
    bf16PerCycle: 1024,
    memoryGib: 24,
    multiprocessors: 72,
    boostGhz: 1.695,
    gigabytesPerSecond: 600,
  },
  { name: 'L4', memoryGib: 24, multiprocessors: 58, boostGhz: 2.04, gigabytesPerSecond: 300, ...proAda },
  { name: 'L40S', memoryGib: 48, multiprocessors: 142, boostGhz: 2.52, gigabytesPerSecond: 864, ...proAda },
  {
    name: 'A100 40GB',
    capability: 80,
    memoryGib: 40,
    multiprocessors: 108,
    boostGhz: 1.41,
    bf16PerCycle: 2048,
    int8PerCycle: 4096,
    fp8PerCycle: 0,
    gigabytesPerSecond: 1555,
  },
  {
    ...proAda,
    name: 'RTX PRO 6000',
    capability: 120,
    memoryGib: 96,
    multiprocessors: 188,
    boostGhz: 2.617,
    gigabytesPerSecond: 1792,
  },
];

/** Operations a second. */
export const rateOf = (card: Card, perCycle: number): number => card.multiprocessors * card.boostGhz * 1e9 * perCycle;

/** 8.6 for 86. */
export const capabilityText = (card: Card): string => (card.capability / 10).toFixed(1);
