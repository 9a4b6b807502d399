/** What the shipped models must do, checked on the measured numbers. Means are over clips, as in the tables. */
import { COMPRESSIONS, compressedSet } from './clips.ts';
import { mean, type Row } from './score.ts';
import type { Timing } from './timing.ts';

export interface Verdict {
  requirement: string;
  /** undefined: not measured in this run. */
  met: boolean | undefined;
  measured: string;
}

type Score = 'psnrDb' | 'ssim' | 'perceptual' | 'flickerLevels';

const CLEAN = ['webcam clean'];
const compressedSets = (scale: number): string[] =>
  (COMPRESSIONS[scale] ?? []).filter(({ codec }) => codec === 'h264').map((one) => compressedSet('webcam', one));
const SINGLE_FRAME = ['FSRCNN', 'ESPCN'];

export function checkRequirements(rows: readonly Row[], timings: readonly Timing[]): Verdict[] {
  // All sets must be there: a mean over half of them would be another number.
  const score = (method: string, scale: number, sets: readonly string[], key: Score): number | undefined => {
    const bySet = sets.map((set) =>
      rows
        .filter((row) => row.method === method && row.scale === scale && row.set === set)
        .flatMap((row) => (row[key] === null ? [] : [row[key]])),
    );
    return bySet.every((values) => values.length) ? mean(bySet.map(mean)) : undefined;
  };
  const time = (method: string): number | undefined =>
    timings.find((timing) => timing.method === method && timing.what === 'network')?.medianMs;
  const verdicts: Verdict[] = [];
  const compare = (
    requirement: string,
    ours: number | undefined,
    limit: number | undefined,
    better: 'more' | 'less' | 'at least' | 'at most',
    digits: number,
  ): void => {
    if (ours === undefined || limit === undefined) {
      verdicts.push({ requirement, met: undefined, measured: 'not measured' });
      return;
    }
    const met = { more: ours > limit, less: ours < limit, 'at least': ours >= limit, 'at most': ours <= limit }[better];
    verdicts.push({ requirement, met, measured: `${ours.toFixed(digits)} against ${limit.toFixed(digits)}` });
  };

  const [vid4, vid4Bicubic] = [score('nano', 4, ['Vid4'], 'psnrDb'), score('bicubic', 4, ['Vid4'], 'psnrDb')];
  const gain = vid4 === undefined || vid4Bicubic === undefined ? undefined : vid4 - vid4Bicubic;
  compare('nano x4 on Vid4: PSNR at least 1.1 dB above bicubic', gain, 1.1, 'at least', 2);
  for (const name of ['nano', 'mini'])
    for (const other of SINGLE_FRAME)
      for (const [set, sets] of [
        ['Vid4', ['Vid4']],
        ['clean videos', CLEAN],
      ] as const)
        compare(
          `${name} better than ${other} on ${set}: PSNR`,
          score(name, 4, sets, 'psnrDb'),
          score(other, 4, sets, 'psnrDb'),
          'more',
          2,
        );
  for (const other of SINGLE_FRAME)
    compare(`mini takes no more time than ${other}: ms`, time('mini'), time(other), 'at most', 1);
  for (const [name, scale] of [
    ['nano', 4],
    ['mini', 4],
    ['nano-x2', 2],
  ] as const) {
    for (const [label, key, better, digits] of [
      ['PSNR', 'psnrDb', 'more', 2],
      ['SSIM', 'ssim', 'more', 4],
      ['MS-GMSD', 'perceptual', 'less', 4],
    ] as const)
      for (const set of compressedSets(scale)) {
        const [ours, bicubic] = [score(name, scale, [set], key), score('bicubic', scale, [set], key)];
        compare(`${name} better than bicubic, x${scale} ${set}: ${label}`, ours, bicubic, better, digits);
      }
  }
  for (const name of ['nano', 'mini'])
    for (const other of SINGLE_FRAME)
      for (const [set, sets] of [
        ['Vid4', ['Vid4']],
        ['clean videos', CLEAN],
        ['compressed', compressedSets(4)],
      ] as const)
        compare(
          `${name} flickers less than ${other}, ${set}: grey levels`,
          score(name, 4, sets, 'flickerLevels'),
          score(other, 4, sets, 'flickerLevels'),
          'less',
          3,
        );
  compare('nano at 320x180 x4: ms', time('nano'), 20, 'at most', 1);
  const nano = time('nano');
  compare("mini takes half of nano's time: ms", time('mini'), nano === undefined ? undefined : nano / 2, 'at most', 1);
  compare('nano-x2 at 640x360 x2: ms', time('nano-x2'), 25, 'at most', 1);
  return verdicts;
}
