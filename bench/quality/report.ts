/** The measured numbers as Markdown. */
import { markdownTable } from '../table.ts';
import type { Verdict } from './requirements.ts';
import { mean, type Row } from './score.ts';
import type { MachineState, Timing } from './timing.ts';

export interface Report {
  rows: readonly Row[];
  timings: readonly Timing[];
  verdicts: readonly Verdict[];
  /** Weights of each method, 0 for resizes. */
  parameters: Readonly<Record<string, number>>;
  /** What was left out and why. */
  notRun: readonly string[];
  machine?: MachineState;
}

const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];

function scoreTable(rows: readonly Row[]): string {
  const cells = unique(rows.map(({ method }) => method)).map((method) => {
    const mine = rows.filter((row) => row.method === method);
    const average = (pick: (row: Row) => number | null, digits: number): string => {
      const values = mine.map(pick).flatMap((value) => (value === null ? [] : [value]));
      return values.length === mine.length ? mean(values).toFixed(digits) : '-';
    };
    return [
      method,
      average((row) => row.psnrDb, 2),
      average((row) => row.ssim, 4),
      average((row) => row.perceptual, 4),
      average((row) => row.flickerLevels, 3),
      average((row) => row.chromaPsnrDb, 2),
    ];
  });
  const head = ['method', 'PSNR Y dB', 'SSIM Y', 'MS-GMSD (lower)', 'flicker (lower)', 'PSNR UV dB'];
  return markdownTable([head, ...cells]);
}

function scoreSections(rows: readonly Row[]): string[] {
  const keys = unique(rows.map(({ scale, set }) => `x${scale} ${set}`));
  return keys.map((key) => {
    const mine = rows.filter(({ scale, set }) => `x${scale} ${set}` === key);
    const rates = mine.flatMap(({ kbps }) => (kbps === undefined ? [] : [kbps]));
    const clips = unique(mine.map(({ clip }) => clip));
    const bits = rates.length ? `; the streams took ${mean(rates).toFixed(0)} kbit/s` : '';
    return `### ${key}\n\n${clips.length} clips (${clips.join(', ')})${bits}\n\n${scoreTable(mine)}`;
  });
}

/** One line a method: the numbers that decide. */
function overview(rows: readonly Row[], timings: readonly Timing[], parameters: Report['parameters']): string[] {
  return unique(rows.map(({ scale }) => scale)).map((scale) => {
    const ours = rows.filter((row) => row.scale === scale);
    const sets = unique(ours.map(({ set }) => set));
    const head = ['method', 'weights', ...sets.map((set) => `${set} dB / MS-GMSD`), 'ms'];
    const body = unique(ours.map(({ method }) => method)).map((method) => {
      const time = timings.find((one) => one.method === method && one.what === 'network');
      const inSet = sets.map((set) => {
        const mine = ours.filter((row) => row.method === method && row.set === set);
        return `${mean(mine.map((r) => r.psnrDb)).toFixed(2)} / ${mean(mine.map((r) => r.perceptual)).toFixed(4)}`;
      });
      const weights = parameters[method] ? `${Math.round(parameters[method] / 1000)}k` : '-';
      return [method, weights, ...inSet, time ? time.medianMs.toFixed(1) : '-'];
    });
    return `### x${scale}, all sets\n\n${markdownTable([head, ...body])}`;
  });
}

function timingSection(timings: readonly Timing[], machine: MachineState | undefined): string[] {
  if (!timings.length) return [];
  const head = ['method', 'input', 'threads', 'what', 'median ms', 'fastest tenth ms'];
  const body = timings.map((timing) => [
    timing.method,
    timing.input,
    String(timing.threads),
    timing.what,
    timing.medianMs.toFixed(2),
    timing.fastestTenthMs.toFixed(2),
  ]);
  const state = machine
    ? `Before: ${machine.busyPercent} % of the cores busy with other work, load average ${machine.loadAverage.join(', ')}.\n\n`
    : '';
  return [`### Time for a frame\n\n${state}${markdownTable([head, ...body])}`];
}

function verdictSection(verdicts: readonly Verdict[]): string[] {
  if (!verdicts.length) return [];
  const words = verdicts.map(({ requirement, met, measured }) => [
    requirement,
    met === undefined ? '-' : met ? 'yes' : 'NO',
    measured,
  ]);
  return [`### Requirements\n\n${markdownTable([['requirement', 'met', 'measured'], ...words])}`];
}

export function markdown({ rows, timings, verdicts, parameters, notRun, machine }: Report): string {
  const sections = [
    ...overview(rows, timings, parameters),
    ...scoreSections(rows),
    ...timingSection(timings, machine),
    ...verdictSection(verdicts),
  ];
  if (notRun.length) sections.push(`### Not run\n\n${notRun.map((line) => `- ${line}`).join('\n')}`);
  return `${sections.join('\n\n')}\n`;
}
