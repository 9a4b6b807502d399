import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
let home: string;

beforeEach(() => (home = mkdtempSync(path.join(tmpdir(), 'home-'))));
afterEach(() => rmSync(home, { recursive: true }));

it('the runtime of the models keeps no identifier and reports to nobody', async () => {
  // It keeps silent by itself where it sees a CI.
  const environment = { PATH: process.env['PATH'], HOME: home, TMPDIR: process.env['TMPDIR'] };
  const clip = 'testdata/clips/astronaut_320x180.mp4';
  const upscale = ['server/cli/main.ts', 'upscale', clip, path.join(home, 'out.mp4'), '--trim', '0-0.05'];
  const child = spawn(process.execPath, ['--import', 'tsx', ...upscale, '--model', 'nano-x2'], {
    cwd: ROOT,
    env: environment,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0);
  expect(existsSync(path.join(home, 'out.mp4'))).toBe(true);
  expect(readdirSync(home)).toEqual(['out.mp4']);
});
