import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WhipServer } from '../../testing/whip-server.ts';

/** aiortc (Debian's python3-aiortc; its DTLS is OpenSSL's) as a WHIP client; left out where it is not installed. */
const PYTHON = '/usr/bin/python3';
const SCRIPT = fileURLToPath(new URL('../../testing/interop/aiortc_whip.py', import.meta.url));
const missing = spawnSync(PYTHON, ['-c', 'import aiortc']).status !== 0;

describe.skipIf(missing)('aiortc', () => {
  let server: WhipServer;
  beforeEach(async () => {
    server = await WhipServer.start();
  });
  afterEach(() => server.close());

  function publish(...options: string[]): Promise<string> {
    const child = spawn(PYTHON, [SCRIPT, `${server.url}/whip/aiortc`, ...options]);
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (output += data.toString()));
    return new Promise((resolve) => child.on('exit', () => resolve(output)));
  }

  it.each([['client'], ['server', '--passive']])('as DTLS %s: connects and publishes', async (_role, ...options) => {
    let audio = false;
    const watching = setInterval(() => (audio ||= server.stats('aiortc')?.audio.present === true), 50);
    const output = await publish(...options).finally(() => clearInterval(watching));
    expect(output).toContain('connected');
    expect(audio).toBe(true);
    expect(await server.pictures()).toBeGreaterThan(20);
    expect(await server.errors('peer.handshake')).toBe(0);
    await expect.poll(() => server.app.sessions.size, { timeout: 10_000 }).toBe(0); // by its close_notify
  });

  it.each([['client'], ['server', '--passive']])(
    'as DTLS %s: refused when its offer names another certificate',
    async (_role, ...options) => {
      await publish('--forge', ...options);
      expect(await server.errors('peer.handshake')).toBe(1);
      expect(await server.pictures()).toBe(0);
    },
  );
});
