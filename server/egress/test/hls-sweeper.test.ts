import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { OutputOf } from '../../config/config.ts';
import { HlsSweeper } from '../hls-sweeper.ts';

/** The disk's time is the test's: files get their ages by utimes(2). */
const NOW = 1_764_526_000_000;
let folder: string;
let sweeper: HlsSweeper;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sweeper-'));
  // Swept by hand.
  sweeper = new HlsSweeper({ now: () => NOW, everyMs: 2 ** 30 });
});
afterEach(() => {
  sweeper.close();
  rmSync(folder, { recursive: true, force: true });
});

function output(change: Partial<OutputOf<'hls'>> = {}): OutputOf<'hls'> {
  return {
    ...({ name: 'hls', broadcast: '*', type: 'hls', track: 'result', enabled: true, folder } as const),
    ...{ segmentSeconds: 4, window: 6, keepSeconds: 600 },
    ...change,
  };
}

/** Of a broadcast that ended `ageSeconds` ago: its first segment is older than its end. */
function ended(name: string, ageSeconds: number, ...more: readonly string[]): void {
  mkdirSync(join(folder, name));
  for (const [index, file] of ['1764520000.ts', '1764520001.ts', 'index.m3u8', ...more].entries()) {
    writeFileSync(join(folder, name, file), 'media');
    const seconds = NOW / 1000 - ageSeconds - (2 - Math.min(2, index)) * 1000;
    utimesSync(join(folder, name, file), seconds, seconds);
  }
}

const left = (name = ''): string[] => readdirSync(join(folder, name)).sort();

it('removes what is older than it is kept, of whatever broadcast, and nothing that may still play', async () => {
  ended('old', 601);
  ended('room~ann', 601);
  ended('young', 599);
  sweeper.watch(output());
  await sweeper.sweep();
  expect(left()).toEqual(['young']);
  expect(left('young')).toHaveLength(3);
});

it('keeps twice the playlist’s length in any case', async () => {
  ended('gone', 49);
  ended('plays', 47);
  sweeper.watch(output({ keepSeconds: 0 }));
  await sweeper.sweep();
  expect(left()).toEqual(['plays']);
});

it('leaves other files, other folders and what lies behind links alone', async () => {
  ended('stage', 601, 'notes.txt', '1764520002.ts.tmp');
  ended('not a broadcast’s name', 601);
  mkdirSync(join(folder, 'empty'));
  mkdirSync(join(folder, 'elsewhere.d'));
  writeFileSync(join(folder, 'elsewhere.d', 'film.ts'), 'media');
  const outside = mkdtempSync(join(tmpdir(), 'outside-'));
  writeFileSync(join(outside, 'index.m3u8'), 'of another program');
  utimesSync(join(outside, 'index.m3u8'), 0, 0);
  symlinkSync(outside, join(folder, 'link'));
  try {
    sweeper.watch(output());
    await sweeper.sweep();
    expect(left('stage')).toEqual(['notes.txt']);
    expect(left()).toEqual(['elsewhere.d', 'empty', 'link', 'not a broadcast’s name', 'stage']);
    expect(left('not a broadcast’s name')).toHaveLength(3);
    expect(existsSync(join(outside, 'index.m3u8'))).toBe(true);
  } finally {
    rmSync(outside, { recursive: true });
  }
});

it('an output of one broadcast has that one’s folder alone', async () => {
  ended('mine', 601);
  ended('other', 601);
  sweeper.watch(output({ broadcast: 'mine' }));
  await sweeper.sweep();
  expect(left()).toEqual(['other']);
});

it('leaves what an output is at work on, however long its publisher is away, until all of them have left', async () => {
  ended('stage', 5000);
  sweeper.watch(output());
  await sweeper.hold(join(folder, 'stage'));
  await sweeper.hold(join(folder, 'stage'));
  await sweeper.sweep();
  sweeper.release(join(folder, 'stage'));
  await sweeper.sweep();
  expect(left()).toEqual(['stage']);
  sweeper.release(join(folder, 'stage'));
  await sweeper.sweep();
  expect(left()).toEqual([]);
});

it('who begins while a folder is being emptied waits for that', async () => {
  ended('stage', 601, ...Array.from({ length: 300 }, (_, index) => `${1_764_521_000 + index}.ts`));
  sweeper.watch(output());
  const sweeping = sweeper.sweep();
  // The removal begins between two steps of the loop; from then on hold() waits.
  const holds = (async () => {
    while (left('stage').includes('index.m3u8')) await new Promise((resolve) => setImmediate(resolve));
    await sweeper.hold(join(folder, 'stage'));
    return existsSync(join(folder, 'stage'));
  })().catch(() => false);
  expect(await holds).toBe(false);
  await sweeping;
});

it('a folder that is not there is no error', async () => {
  sweeper.watch(output({ folder: join(folder, 'unmounted') }));
  sweeper.watch(output({ name: 'one', broadcast: 'stage', folder: join(folder, 'unmounted') }));
  await expect(sweeper.sweep()).resolves.toBeUndefined();
});
