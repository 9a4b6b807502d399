/** Curves as SVG, one panel a codec: dB against kbit/s (logarithmic). Drawn by hand: no library is worth it for lines. */
import { mean } from '../quality/score.ts';
import { meanAt, type Group } from './curves.ts';

const PANEL = { width: 460, height: 340, left: 46, right: 12, top: 28, bottom: 34 };
const COLOURS = ['#1b6ca8', '#c0392b', '#27853c', '#8e44ad', '#b7791f', '#16807a', '#555555', '#d35490', '#34495e'];
const TICKS_KBPS = [20, 30, 50, 100, 200, 300, 500, 1000, 2000];

const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
const unique = <T>(values: readonly T[]): T[] => [...new Set(values)];
const nameOf = ({ way }: Group): string =>
  `${way.shortSide}p${way.framesPerSecond === 30 ? '' : ` ${way.framesPerSecond} fps`}, ${way.upscaler}`;

/** Plain resizes; the goal sent as it is is none. */
const isDashed = ({ way }: Group): boolean => way.upscaler === 'resize' && way.shortSide !== way.goal;
const DASHES = ' stroke-dasharray="4 3"';

interface Axes {
  x: (kbps: number) => number;
  y: (psnrDb: number) => number;
  fromDb: number;
  toDb: number;
}

/** Means at the rates between the dearest first and the dearest last point: where all clips have one. */
function lineOf({ curves }: Group): { kbps: number; psnrDb: number }[] {
  const from = Math.max(...curves.map(({ points }) => points[0]?.kbps ?? Infinity));
  const to = mean(curves.map(({ points }) => points.at(-1)?.kbps ?? 0));
  if (!(to > from)) return [];
  return Array.from({ length: 25 }, (_, i) => {
    const kbps = from * (to / from) ** (i / 24);
    return { kbps, psnrDb: meanAt(curves, kbps) ?? NaN };
  }).filter(({ psnrDb }) => Number.isFinite(psnrDb));
}

function panel(
  title: string,
  groups: readonly Group[],
  colours: ReadonlyMap<string, string>,
  { x, y, fromDb, toDb }: Axes,
): string {
  const { width, height, left, right, top, bottom } = PANEL;
  const step = toDb - fromDb > 14 ? 4 : 2;
  const levels = Array.from({ length: Math.floor((toDb - fromDb) / step) + 1 }, (_, i) => fromDb + i * step);
  const grid = [
    ...TICKS_KBPS.map(
      (kbps) =>
        `<line x1="${x(kbps)}" x2="${x(kbps)}" y1="${top}" y2="${height - bottom}" class="grid"/>` +
        `<text x="${x(kbps)}" y="${height - bottom + 14}" text-anchor="middle">${kbps}</text>`,
    ),
    ...levels.map(
      (level) =>
        `<line x1="${left}" x2="${width - right}" y1="${y(level)}" y2="${y(level)}" class="grid"/>` +
        `<text x="${left - 6}" y="${y(level) + 4}" text-anchor="end">${level}</text>`,
    ),
  ];
  const lines = groups.map((group) => {
    const points = lineOf(group).map(({ kbps, psnrDb }) => `${x(kbps)},${y(psnrDb)}`);
    const dash = isDashed(group) ? DASHES : '';
    return `<polyline points="${points.join(' ')}" fill="none" stroke="${colours.get(nameOf(group)) ?? ''}" stroke-width="1.8"${dash}/>`;
  });
  return [
    `<text x="${left}" y="${top - 10}" class="title">${escaped(title)}</text>`,
    ...grid,
    `<text x="${(left + width - right) / 2}" y="${height - 4}" text-anchor="middle">kbit/s</text>`,
    ...lines,
  ].join('\n');
}

/** @param groups of one content and one goal. Resizes are dashed; the goal sent as it is is not. */
export function plot(title: string, groups: readonly Group[]): string {
  const { width, height, left, right, top, bottom } = PANEL;
  const codecs = unique(groups.map(({ way }) => way.codec));
  const names = unique([...groups].sort((a, b) => a.way.shortSide - b.way.shortSide).map(nameOf));
  const colours = new Map(names.map((name, index) => [name, COLOURS[index % COLOURS.length] as string]));
  const values = groups.flatMap(lineOf);
  if (values.length === 0) throw new Error(`nothing to draw: ${title}`);
  const fromDb = 2 * Math.floor(Math.min(...values.map(({ psnrDb }) => psnrDb)) / 2);
  const toDb = 2 * Math.ceil(Math.max(...values.map(({ psnrDb }) => psnrDb)) / 2);
  const [first, last] = [20, 2000];
  const fixed = (value: number): number => Number(value.toFixed(1));
  const axes: Axes = {
    x: (kbps) =>
      fixed(
        left +
          (Math.log(Math.min(last, Math.max(first, kbps)) / first) / Math.log(last / first)) * (width - left - right),
      ),
    y: (value) => fixed(height - bottom - ((value - fromDb) / (toDb - fromDb)) * (height - top - bottom)),
    fromDb,
    toDb,
  };
  const rows = Math.ceil(codecs.length / 2);
  const legendTop = 46 + rows * height;
  const [fullWidth, fullHeight] = [2 * width, legendTop + 18 * Math.ceil(names.length / 4) + 12];
  const panels = codecs.map((codec, index) => {
    const mine = groups.filter(({ way }) => way.codec === codec);
    const place = `translate(${(index % 2) * width} ${30 + Math.floor(index / 2) * height})`;
    return `<g transform="${place}">\n${panel(codec, mine, colours, axes)}\n</g>`;
  });
  const legend = names.map((name, index) => {
    const [lx, ly] = [left + (index % 4) * 220, legendTop + 18 * Math.floor(index / 4)];
    const dash = groups.some((group) => nameOf(group) === name && isDashed(group)) ? DASHES : '';
    return (
      `<line x1="${lx}" x2="${lx + 24}" y1="${ly}" y2="${ly}" stroke="${colours.get(name) ?? ''}" stroke-width="1.8"${dash}/>` +
      `<text x="${lx + 30}" y="${ly + 4}">${escaped(name)}</text>`
    );
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${fullWidth} ${fullHeight}" width="${fullWidth}" height="${fullHeight}">`,
    '<style>text{font:11px sans-serif;fill:#333}.title{font-weight:bold;font-size:13px}.grid{stroke:#ddd;stroke-width:0.6}</style>',
    '<rect width="100%" height="100%" fill="#fff"/>',
    `<text x="${left}" y="20" class="title">${escaped(title)}</text>`,
    ...panels,
    ...legend,
    '</svg>\n',
  ].join('\n');
}
