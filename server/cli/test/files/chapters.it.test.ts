import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { readFilm, runFfmpeg } from '../../../../testing/film.ts';
import { chaptersIn } from '../../../codec/tracks/chapters.ts';
import { X264, openWorkbench, pictures, tone, type Row } from './workbench.ts';

/** Row I, chapters: kept where the container takes them, else named. What is in a result is read by another program. */

const { at, make, run } = openWorkbench();

const CHAPTERS = [
  ['0', '0.4', 'Eins: der Anfang'],
  ['0.4', '1.2', '漢字 "und" = mehr'],
  ['1.2', '2', ''],
] as const;

const metadataOf = (chapters: readonly (readonly [string, string, string])[]): string =>
  [
    ';FFMETADATA1\ntitle=Film',
    ...chapters.map(([start, end, title]) => {
      const times = `START=${Math.round(1000 * Number(start))}\nEND=${Math.round(1000 * Number(end))}`;
      return `[CHAPTER]\nTIMEBASE=1/1000\n${times}\n${title === '' ? '' : `title=${title.replace(/[=;#\\]/g, '\\$&')}\n`}`;
    }),
  ].join('\n');

async function makeFilm(name: string, chapters: readonly (readonly [string, string, string])[]): Promise<void> {
  writeFileSync(at(`${name}.txt`), metadataOf(chapters));
  const maps = ['-map', '0', '-map', '1', '-map_metadata', '2', '-map_chapters', '2'];
  await make(name, ...pictures(2), ...tone(2), '-i', at(`${name}.txt`), ...maps, ...X264, '-c:a', 'aac');
}

/** Start and title, as ffmpeg finds them. */
async function chaptersOf(file: string): Promise<(readonly [number, string])[]> {
  await runFfmpeg('-copyts', '-i', file, '-f', 'ffmetadata', `${file}.found.txt`);
  const [, ...found] = readFileSync(`${file}.found.txt`, 'utf8').split('[CHAPTER]\n');
  return found.map((text) => {
    const [, over = 1, under = 1] = (/TIMEBASE=(\d+)\/(\d+)/.exec(text) ?? []).map(Number);
    const start = (Number(/START=(-?\d+)/.exec(text)?.[1]) * over) / under;
    return [Number(start.toFixed(3)), (/title=(.*)/.exec(text)?.[1] ?? '').replace(/\\(.)/g, '$1')] as const;
  });
}

const all = CHAPTERS.map(([start, , title]) => [Number(start), title]);

beforeAll(async () => {
  await makeFilm('film.mkv', CHAPTERS);
  await makeFilm('film.mp4', CHAPTERS);
}, 60_000);

describe.each(['film.mkv', 'film.mp4'])('%s', (input) => {
  it.each(['.mkv', '.mp4', '.mov', '.webm'])(
    'to %s: every chapter at its time, and the film is whole',
    async (ending) => {
      // With B-frames, whose decoding times begin below 0.
      const { result, output } = await run(input, { ending, preset: 'fast' });
      expect(result.notices.join()).not.toMatch(/chapter/i);
      expect(await chaptersOf(output)).toEqual(all);
      const film = await readFilm(output);
      console.log(ending, film.times[0], film.audio[0]?.start, film.times.at(-1));
      expect(film.times.length).toBe(50);
      expect(film.audio.length).toBe(1);
    },
  );
});

it('a part has the chapters of that part, from its own beginning', async () => {
  const trim: Row = { trim: { startSeconds: 0.8, endSeconds: 1.6 } };
  const { output } = await run('film.mp4', { ...trim, ending: '.mkv' });
  expect(await chaptersOf(output)).toEqual([
    [0, CHAPTERS[1][2]],
    [0.4, ''],
  ]);
});

it('a container without chapters: their number is named', async () => {
  const { result } = await run('film.mkv', { ending: '.ts' });
  expect(result.notices).toContain('Left out, as .ts does not take them: 3 chapters.');
});

it('of an address they are kept, too', async () => {
  const film = readFileSync(at('film.mkv'));
  const server = createServer((_request, response) => void response.end(film)).listen(0, '127.0.0.1');
  try {
    await once(server, 'listening');
    const { output } = await run(`http://127.0.0.1:${(server.address() as AddressInfo).port}/film.mkv`, {});
    expect(await chaptersOf(output)).toEqual(all);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

it('more than an MP4 can count, and titles that are too long for it: what fits, and a word', async () => {
  const many = Array.from({ length: 300 }, (_, index) => {
    const title = index === 1 ? 'ü'.repeat(200) : `no ${index}`;
    return [String(index / 200), String((index + 1) / 200), title] as const;
  });
  await makeFilm('many.mkv', many);
  const { result, output } = await run('many.mkv', {});
  expect(result.notices).toContain('45 of 300 chapters had no room in the result.');
  const found = await chaptersOf(output);
  expect(found.length).toBe(255);
  expect(found[1]).toEqual([0.005, 'ü'.repeat(127)]);
  const kept = await run('many.mkv', { ending: '.mkv' });
  expect((await chaptersOf(kept.output)).length).toBe(300);
});

it('reads what libav says of chapters, whatever their titles are', () => {
  const messages = [
    ...['Input #0, mov, from:', '  Metadata:', '    title           : ', 'Film', '  Chapters:'],
    ...[
      '    Chapter #0:0: ',
      'start -0.500000, ',
      'end 1.250000',
      '      Metadata:',
      '        title           : ',
      'one',
    ],
    ...['\n                        : ', 'more', '        other           : ', 'words', '    Chapter #0:1: '],
    ...['start 1.250000, ', 'end 2.000000', '    Chapter #0:2: ', 'start 3.000000, ', 'end 1.000000'],
    ...['  Stream #0', ':0', ': Video', '    Chapter #0:3: ', 'start 3.000000, ', 'end 4.000000'],
  ];
  expect(chaptersIn(messages)).toEqual([
    { startSeconds: -0.5, endSeconds: 1.25, title: 'one more' },
    { startSeconds: 1.25, endSeconds: 2, title: '' },
  ]);
});
