/** The measured curves as Markdown. */
import { markdownTable } from '../table.ts';
import { curvesOf, meanAt, savingOf, type Group } from './curves.ts';
import { judge, judgementTable } from './judge.ts';
import type { BitsRow } from './rows.ts';

/** Rates of the tables, kbit/s. */
export const TABLE_KBPS = [30, 40, 60, 100, 150, 300, 500, 800, 1200];

const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];
const byModel = ({ way }: Group): boolean => way.upscaler !== 'resize';
const db = (value: number | undefined): string => (value === undefined ? '-' : value.toFixed(1));
const nameOf = ({ way: { codec, shortSide, framesPerSecond, upscaler } }: Group): string =>
  `${codec} ${shortSide}p${framesPerSecond === 30 ? '' : ` ${framesPerSecond} fps`}${upscaler === 'resize' ? '' : ` + ${upscaler}`}`;

/** The best of some ways at a rate. */
export function bestAt(groups: readonly Group[], kbps: number): { group: Group; psnrDb: number } | undefined {
  const known = groups.flatMap((group) => {
    const psnrDb = meanAt(group.curves, kbps);
    return psnrDb === undefined ? [] : [{ group, psnrDb }];
  });
  return known.reduce<(typeof known)[number] | undefined>((a, b) => (a && a.psnrDb >= b.psnrDb ? a : b), undefined);
}

/** What a model adds at each rate: the best with one against the best without, each at its best size. */
function worth(groups: readonly Group[]): string {
  const codecs = unique(groups.map(({ way }) => way.codec));
  const head = ['codec', ...TABLE_KBPS.map((kbps) => `${kbps} kbit/s`)];
  const cell = (mine: readonly Group[], kbps: number): string => {
    const model = bestAt(mine.filter(byModel), kbps);
    const plain = bestAt(
      mine.filter((group) => !byModel(group)),
      kbps,
    );
    if (model === undefined && plain === undefined) return '-';
    if (model === undefined) return `${db(plain?.psnrDb)} (${plain?.group.way.shortSide}p)`;
    if (plain === undefined) return `${db(model.psnrDb)} by ${model.group.way.upscaler} alone`;
    const gain = model.psnrDb - plain.psnrDb;
    const best = gain > 0 ? model : plain;
    const { shortSide, upscaler } = best.group.way;
    const sign = gain > 0 ? '+' : '';
    return `${db(best.psnrDb)} (${shortSide}p${upscaler === 'resize' ? '' : ` + ${upscaler}`}); ${sign}${gain.toFixed(1)}`;
  };
  const body = codecs.map((codec) => {
    const mine = groups.filter(({ way }) => way.codec === codec);
    return [codec, ...TABLE_KBPS.map((kbps) => cell(mine, kbps))];
  });
  return markdownTable([head, ...body]);
}

function curvesTable(groups: readonly Group[]): string {
  const head = ['sent', ...TABLE_KBPS.map(String), 'rate at equal PSNR'];
  const body = groups.map((group) => {
    const saving = savingOf(group, groups);
    const rate = saving === undefined ? '-' : `${saving > 0 ? '+' : ''}${Math.round(100 * saving)} %`;
    return [nameOf(group), ...TABLE_KBPS.map((kbps) => db(meanAt(group.curves, kbps))), rate];
  });
  return markdownTable([head, ...body]);
}

function rowsTable(rows: readonly BitsRow[]): string {
  const head = ['clip', 'goal', 'sent', 'wanted', 'took kbit/s', 'shown fps', 'upscaler', 'dB', 'SSIM', 'MS-GMSD'];
  const body = rows.map((row) => [
    row.clip,
    String(row.goal),
    `${row.codec} ${row.shortSide}p ${row.framesPerSecond} fps`,
    String(row.targetKbps),
    row.kbps.toFixed(1),
    row.shownFps.toFixed(1),
    row.upscaler,
    row.psnrDb.toFixed(2),
    row.ssim.toFixed(4),
    row.perceptual.toFixed(4),
  ]);
  return markdownTable([head, ...body]);
}

export interface Report {
  rows: readonly BitsRow[];
  groups: readonly Group[];
  notRun: readonly string[];
}

const CHOICE =
  'By client-demo/assets/send-table.js, clip by clip: the choice and its dB; in brackets the best way of sending this clip and what it has more. ' +
  'Only clips that the table was not made from say how good the choice is.';

export function markdown({ rows, groups, notRun }: Report): string {
  const keys = unique(groups.map(({ way }) => `${way.content}, goal ${way.goal}`));
  const sections = keys.flatMap((key) => {
    const mine = groups.filter(({ way }) => `${way.content}, goal ${way.goal}` === key);
    const clips = unique(mine.flatMap(({ curves }) => curves.map(({ clip }) => clip))).join(', ');
    return [
      `### ${key}p: ${clips}`,
      'The best dB at each rate, how it was sent, and what the best model adds to the best plain resize (negative: it is worth nothing there).',
      worth(mine),
      'Every way, dB on Y at kbit/s; rate that it takes for the same PSNR, against the goal sent as it is by the same codec:',
      curvesTable(mine),
    ];
  });
  for (const goal of unique(rows.map((row) => row.goal))) {
    const table = judgementTable(judge(curvesOf(rows.filter((row) => row.goal === goal))));
    sections.push(`### What the page chooses, goal ${goal}p`, CHOICE, table);
  }
  if (rows.length > 0) sections.push('### All streams', rowsTable(rows));
  if (notRun.length > 0) sections.push('### Not run', notRun.map((line) => `- ${line}`).join('\n'));
  return `${sections.join('\n\n')}\n`;
}
