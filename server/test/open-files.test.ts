import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openFilesLimit, openFilesProblem } from '../open-files.ts';

it('reads the limit where the system gives one', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashvsr-limits-'));
  const file = join(folder, 'limits');
  const line = (soft: string) =>
    `Limit  Soft Limit  Hard Limit  Units\nMax open files            ${soft}   4096   files\n`;
  writeFileSync(file, line('64'));
  expect(openFilesLimit(file)).toBe(64);
  writeFileSync(file, line('unlimited'));
  expect(openFilesLimit(file)).toBeUndefined();
  expect(openFilesLimit(join(folder, 'nothing'))).toBeUndefined();
  rmSync(folder, { recursive: true });
});

it('names limit, need and remedy when there are too few', () => {
  expect(openFilesProblem(64)).toMatch(/limit of open files is 64; the server needs at least 96.*\n.*ulimit -n 4096/);
  expect(openFilesProblem(100)).toBeUndefined();
});
