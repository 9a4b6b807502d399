import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { UsageError } from '../../command.ts';
import { readOptions } from '../options.ts';

const root = mkdtempSync(join(tmpdir(), 'quality-options-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const data = join(root, 'data');
const models = join(root, 'models');
for (const name of ['nano-x2', 'mini', 'nano', 'other']) {
  mkdirSync(join(models, name), { recursive: true });
  writeFileSync(join(models, name, 'manifest.json'), '{}');
}
for (const folder of ['test/Set5', 'test/Set14', 'models/opencv_pb'])
  mkdirSync(join(data, folder), { recursive: true });
for (const file of ['test/Set5/a_HR.png', 'test/Set14/a_HR.png', 'models/opencv_pb/ESPCN_x4.pb'])
  writeFileSync(join(data, file), '');

const read = (...args: string[]) => readOptions(['--models', models, ...args]);
function complaint(...args: string[]): string {
  try {
    read(...args);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error('no complaint');
}

it('without --data it names what it needs and what needs nothing', () => {
  expect(complaint()).toMatch(
    /missing:\n {2}test\/Set5\n[^]*models\/opencv_pb\/FSRCNN_x4\.pb[^]*--parts astronaut,time/,
  );
  expect(read('--parts', 'astronaut,time', '--methods', 'bicubic,nano')).toMatchObject({
    parts: ['astronaut'],
    time: true,
    methods: ['bicubic', 'nano'],
    notRun: [],
  });
});

it('nothing is skipped silently: a missing input ends the run, or is listed with --allow-missing', () => {
  const message = complaint('--data', data, '--parts', 'stills,vid4', '--methods', 'bicubic,ESPCN,FSRCNN');
  expect(message).toContain('  test/vid4/walk\n');
  expect(message).toContain('  models/opencv_pb/FSRCNN_x4.pb\n');
  expect(message).not.toContain('ESPCN_x4');
  expect(message).not.toContain('Set5');
  const options = read(
    '--data',
    data,
    '--parts',
    'stills,vid4',
    '--methods',
    'bicubic,ESPCN,FSRCNN',
    '--allow-missing',
  );
  expect(options.parts).toEqual(['stills']);
  expect(options.methods).toEqual(['bicubic', 'ESPCN']);
  expect(options.notRun).toContain('missing: models/opencv_pb/FSRCNN_x4.pb');
  expect(options.notRun).toContain('missing: test/vid4/calendar');
});

it('a shipped model that is not there is missing too', () => {
  const empty = join(root, 'empty');
  mkdirSync(empty);
  expect(() => readOptions(['--models', empty, '--parts', 'time'])).toThrow(join(empty, 'nano'));
});

it('names that do not exist are refused with those that do', () => {
  expect(complaint('--parts', 'stils')).toMatch(/--parts: there is no stils; there are stills, vid4, .*time/);
  expect(complaint('--methods', 'nano,nan')).toMatch(
    /--methods: there is no nan; there are bicubic, Lanczos, nano, mini, nano-x2, other, FSRCNN/,
  );
  expect(complaint('--parts', ',')).toContain('--parts names nothing');
  expect(complaint('--parts', 'astronaut', '--methods', 'nano', '--threads', 'two')).toContain(
    '--threads must be a whole number',
  );
  expect(() => read('--part', 'time')).toThrow("Unknown option '--part'");
});

it('--quick is smaller', () => {
  const base = ['--parts', 'astronaut', '--methods', 'nano'];
  const [full, quick] = [read(...base), read(...base, '--quick')];
  expect(quick.settings.scored).toBeLessThan(full.settings.scored);
  expect(quick.rounds).toBeLessThan(full.rounds);
});
