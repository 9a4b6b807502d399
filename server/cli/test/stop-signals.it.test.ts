import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'stop-signals-'));
const at = (name: string): string => path.join(folder, name);
const started: ChildProcess[] = [];

/** A film without an end, so that no job is finished before the signal comes; read only as fast as the job takes it. */
function* endlessVideo(): Generator<Buffer> {
  yield Buffer.from('YUV4MPEG2 W64 H48 F25:1 C420jpeg\n');
  for (;;) yield Buffer.concat([Buffer.from('FRAME\n'), Buffer.alloc((64 * 48 * 3) / 2, 99)]);
}
let server: Server;
beforeAll(async () => {
  server = createServer((_request, response) => void Readable.from(endlessVideo()).pipe(response)).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
});
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  for (const name of readdirSync(folder)) rmSync(at(name), { recursive: true });
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(
  program: string,
  ...args: string[]
): { child: ChildProcess; ended: Promise<unknown[]>; errors: () => string } {
  const child = spawn(process.execPath, ['--import', 'tsx', path.join(ROOT, program), ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  started.push(child);
  let errors = '';
  child.stderr?.on('data', (data: Buffer) => (errors += data.toString()));
  return { child, ended: once(child, 'close'), errors: () => errors };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const part = (): string | undefined => readdirSync(folder).find((name) => name.endsWith('.part'));
const partBytes = (): number => {
  const name = part();
  return name === undefined ? 0 : statSync(at(name)).size;
};

const upscale = () => {
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/endless.y4m`;
  const flags = ['--model', 'resize', '--scale', '2', '--preset', 'ultrafast'];
  return start('server/cli/main.ts', 'upscale', address, at('x.ts'), ...flags);
};
/** On a slow machine lines of progress may come before it. */
const line = (signal: string): RegExp =>
  new RegExp(
    `^(?:\\d+ frames, [\\d.]+ frames/s\\n)*Upscaling http://.* was stopped \\(${signal}\\); nothing of the result is kept\\.\\n$`,
  );

it.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)('%s during the work: one line, the exit code of a signal, nothing left', async (signal, code) => {
  const { child, ended, errors } = upscale();
  await until(() => partBytes() > 0 || child.exitCode !== null);
  child.kill(signal);
  expect(await ended, errors()).toEqual([code, null]);
  expect(errors()).toMatch(line(signal));
  expect(readdirSync(folder)).toEqual([]);
});

it('Ctrl-C while the job starts: the same', async () => {
  const { child, ended, errors } = upscale();
  await until(() => part() !== undefined || child.exitCode !== null);
  child.kill('SIGINT');
  expect(await ended, errors()).toEqual([130, null]);
  expect(errors()).toMatch(line('SIGINT'));
  expect(readdirSync(folder)).toEqual([]);
});

it('a second Ctrl-C ends the process at once, even with a child that goes on, and leaves nothing', async () => {
  writeFileSync(at('in.mp4'), '');
  const { child, ended, errors } = start('server/cli/test/programs/with-stubborn-child.mjs', at('in.mp4'), at('x.mp4'));
  await until(() => errors().includes('at work') || child.exitCode !== null);
  child.kill('SIGINT');
  child.kill('SIGTERM');
  const [code] = await ended;
  // One of both may come first; the second decides.
  expect([130, 143]).toContain(code);
  expect(readdirSync(folder)).toEqual(['in.mp4']);
});

it('a child that ignores the signal is ended after two seconds', async () => {
  writeFileSync(at('in.mp4'), '');
  const { child, ended, errors } = start('server/cli/test/programs/with-stubborn-child.mjs', at('in.mp4'), at('x.mp4'));
  await until(() => errors().includes('at work') || child.exitCode !== null);
  child.kill('SIGTERM');
  expect(await ended).toEqual([143, null]);
  expect(errors()).toMatch(/at work\nUpscaling .*in\.mp4 was stopped \(SIGTERM\)/);
  expect(readdirSync(folder)).toEqual(['in.mp4']);
});
