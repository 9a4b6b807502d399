/** The page's table out of the measured curves: client-demo/assets/send-table.js. */
import type { Provenance } from '../machine.ts';
import { meanAt, wayKey, type Group } from './curves.ts';

/** Rates of the table, kbit/s; between them it is read linearly in the logarithm. */
export const RATES_KBPS = [25, 30, 40, 50, 60, 80, 100, 130, 150, 200, 250, 300, 400, 500, 700, 900, 1200, 1500];

const TYPES = `/**
 * @typedef {object} SendRow one curve: what comes out at the viewer's, against what bits were sent
 * @property {'camera' | 'screen'} content
 * @property {number} goal short side that results are compared at
 * @property {'AV1' | 'H264' | 'VP8' | 'VP9'} codec
 * @property {number} shortSide of the pictures sent
 * @property {number} framesPerSecond sent
 * @property {'resize' | 'mini' | 'nano' | 'nano-x2'} upscaler of the server; what is missing to the goal is resized
 * @property {(number | null)[]} psnrDb on Y, at \`ratesBps\`; null below what the encoder comes down to
 * @property {(number | null)[]} shownFps pictures a second that appear, at \`ratesBps\`
 */`;

/**
 * @param groups a way each; one that has no value at any rate is left out, as is midi, which the page does not know
 * @returns the module's text
 * @throws Error when there is nothing to write
 */
export function sendTable(groups: readonly Group[], { command, commit, date, machine }: Provenance): string {
  const rows = [...groups]
    .filter(({ way }) => way.upscaler !== 'midi')
    .sort((a, b) => wayKey(a.way).localeCompare(wayKey(b.way), 'en', { numeric: true }))
    .flatMap(({ way, curves }) => {
      const values = RATES_KBPS.map((kbps) => meanAt(curves, kbps)?.toFixed(2) ?? 'null');
      const shown = RATES_KBPS.map((kbps) => meanAt(curves, kbps, 'shownFps')?.toFixed(0) ?? 'null');
      if (values.every((value) => value === 'null')) return [];
      const { content, goal, codec, shortSide, framesPerSecond, upscaler } = way;
      const fields = `content: '${content}', goal: ${goal}, codec: '${codec}', shortSide: ${shortSide}, framesPerSecond: ${framesPerSecond}`;
      return [
        `    { ${fields}, upscaler: '${upscaler}', psnrDb: [${values.join(', ')}], shownFps: [${shown.join(', ')}] },`,
      ];
    });
  if (rows.length === 0) throw new Error('no way of sending was measured on all clips of its kind');
  const clips = [...new Set(groups.flatMap(({ curves }) => curves.map(({ clip }) => clip)))].join(', ');
  return `/**
 * Made by \`${command}\`: do not edit.
 * ${date}, ${machine}, commit ${commit}; clips: ${clips}.
 */

${TYPES}

/** @type {{ratesBps: number[], rows: SendRow[]}} */
export const SEND_TABLE = {
  ratesBps: [${RATES_KBPS.map((kbps) => kbps * 1000).join(', ')}],
  rows: [
${rows.join('\n')}
  ],
};
`;
}
