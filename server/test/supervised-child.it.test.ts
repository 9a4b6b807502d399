import { ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { until } from '../../testing/until.ts';
import { SupervisedChild, type ChildOptions } from '../supervised-child.ts';

vi.mock('node:child_process', { spy: true });

/** Children that crash, hang or never start: one end with a reason, and no exception here. */

let folder: string;
const children: SupervisedChild[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'supervised-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill();
    await child.ended;
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function start(name: string, text: string, change: Partial<ChildOptions> = {}): SupervisedChild {
  const file = join(folder, `${name}.mts`);
  writeFileSync(file, text);
  const stdio = ['ignore', 'ignore', 'pipe', 'ipc'] as const;
  const child = new SupervisedChild({ module: pathToFileURL(file), stdio, ...change });
  children.push(child);
  return child;
}

const WAITS = 'process.send!("ready"); setInterval(() => undefined, 1000);';

it('runs TypeScript, and everything that it sends arrives before its end', async () => {
  const messages: unknown[] = [];
  const text = `
    process.once('message', (count: number) => {
      for (let each = 0; each < count; each += 1) process.send!(each);
      process.send!('last', () => process.exit(3));
    });
  `;
  const child = start('sends', text, { onMessage: (message) => messages.push(message) });
  child.send(200);
  expect(await child.ended).toEqual({ how: 'exit code 3', code: 3, signal: null });
  expect(messages).toEqual([...Array.from({ length: 200 }, (_, each) => each), 'last']);
  expect(child.connected).toBe(false);
  child.send('too late');
  child.disconnect();
});

it('keeps the beginning of what a crash says', async () => {
  const child = start('crashes', `console.error('x'.repeat(3000)); process.kill(process.pid, 'SIGABRT');`);
  expect(await child.ended).toMatchObject({ how: 'SIGABRT', code: null, signal: 'SIGABRT' });
  expect(child.stderr).toBe('x'.repeat(2000));
});

it('ends what hangs, unless the limit is renewed or lifted', async () => {
  let ready = false;
  const child = start('hangs', WAITS, { onMessage: () => (ready = true) });
  const late = vi.fn(() => child.kill());
  child.limit(1, () => expect.unreachable('the first limit was renewed'));
  child.limit(1, () => expect.unreachable('the second limit was lifted'));
  child.limit(undefined);
  await until(() => ready, 'the child');
  child.limit(1, late);
  expect(await child.ended).toMatchObject({ how: 'SIGKILL' });
  expect(late).toHaveBeenCalledTimes(1);
  child.limit(1, () => expect.unreachable('it has ended'));
});

it('a process that finds no file descriptors has an end, too', async () => {
  // What Node gives when spawn(2) ends in EMFILE or ENFILE: no streams, no channel, and 'error' in the next turn.
  vi.mocked(spawn).mockImplementationOnce(() => {
    const child = new ChildProcess();
    process.nextTick(() => child.emit('error', new Error('spawn node EMFILE')));
    return child;
  });
  const child = start('never', '');
  child.send('nothing hears this');
  child.disconnect();
  child.kill();
  child.limit(1000);
  expect([child.pid, child.connected, child.pipe(3)]).toEqual([undefined, false, undefined]);
  expect(await child.ended).toEqual({ how: 'spawn node EMFILE', code: null, signal: null });
});
