/** One row of ITU-T H.264 table A-1, baseline and main limits. */
interface Level {
  /** level_idc: ten times the level's number. */
  readonly idc: number;
  readonly maxMacroblocksPerSecond: number;
  readonly maxFrameMacroblocks: number;
  readonly maxBitrateBps: number;
}

const level = (idc: number, maxMacroblocksPerSecond: number, maxFrameMacroblocks: number, kilobits: number): Level => ({
  idc,
  maxMacroblocksPerSecond,
  maxFrameMacroblocks,
  maxBitrateBps: kilobits * 1000,
});

const LEVELS: readonly Level[] = [
  level(10, 1_485, 99, 64),
  level(11, 3_000, 396, 192),
  level(12, 6_000, 396, 384),
  level(13, 11_880, 396, 768),
  level(20, 11_880, 396, 2_000),
  level(21, 19_800, 792, 4_000),
  level(22, 20_250, 1_620, 4_000),
  level(30, 40_500, 1_620, 10_000),
  level(31, 108_000, 3_600, 14_000),
  level(32, 216_000, 5_120, 20_000),
  level(40, 245_760, 8_192, 20_000),
  level(42, 522_240, 8_704, 50_000),
  level(50, 589_824, 22_080, 135_000),
  level(51, 983_040, 36_864, 240_000),
  level(52, 2_073_600, 36_864, 240_000),
];

/**
 * The lowest level_idc that carries such a stream (ITU-T H.264 A.3.1: frame size, a side at most sqrt(8 * MaxFS)
 * macroblocks, macroblock rate, bit rate). 31 is level 3.1, what RTP's profile-level-id says as 0x1f. Beyond the table: 5.2,
 * the highest that the encoder makes.
 * @param bitrateBps 0: whatever the level allows
 */
export function h264LevelFor(width: number, height: number, framesPerSecond: number, bitrateBps = 0): number {
  return levelFor(width, height, framesPerSecond, bitrateBps)?.idc ?? 52;
}

/** Whether level 5.2, the highest that decoders promise, carries such a stream at some bit rate. */
export function fitsH264(width: number, height: number, framesPerSecond: number): boolean {
  return levelFor(width, height, framesPerSecond, 0) !== undefined;
}

function levelFor(width: number, height: number, framesPerSecond: number, bitrateBps: number): Level | undefined {
  const columns = Math.ceil(width / 16);
  const rows = Math.ceil(height / 16);
  const macroblocks = columns * rows;
  return LEVELS.find(
    (row) =>
      macroblocks <= row.maxFrameMacroblocks &&
      Math.max(columns, rows) <= Math.sqrt(8 * row.maxFrameMacroblocks) &&
      macroblocks * framesPerSecond <= row.maxMacroblocksPerSecond &&
      bitrateBps <= row.maxBitrateBps,
  );
}
