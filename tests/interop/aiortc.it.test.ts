import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WhipFront } from '../../testing/whip-front.ts';

/** aiortc (Debian's python3-aiortc; its DTLS is OpenSSL's) as a WHIP client; left out where it is not installed. */
const PYTHON = '/usr/bin/python3';
const SCRIPT = fileURLToPath(new URL('../../testing/interop/aiortc_whip.py', import.meta.url));
const missing = spawnSync(PYTHON, ['-c', 'import aiortc']).status !== 0;

describe.skipIf(missing)('aiortc', () => {
  let front: WhipFront;
  beforeEach(async () => {
    front = await WhipFront.start();
  });
  afterEach(() => front.close());

  function publish(...options: string[]): Promise<string> {
    const child = spawn(PYTHON, [SCRIPT, `${front.url}/whip`, ...options]);
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (output += data.toString()));
    return new Promise((resolve) => child.on('exit', () => resolve(output)));
  }

  it.each([['client'], ['server', '--passive']])('as DTLS %s: connects and publishes', async (_role, ...options) => {
    const output = await publish(...options);
    const [session] = front.sessions;
    expect(output).toContain('connected');
    expect(session?.pictures).toBeGreaterThan(20);
    expect(session?.audioPackets).toBeGreaterThan(50);
    expect(front.errors).toEqual([]);
    await expect.poll(() => session?.peer.state).toBe('closed'); // by its close_notify
  });

  it.each([['client'], ['server', '--passive']])(
    'as DTLS %s: refused when its offer names another certificate',
    async (_role, ...options) => {
      await publish('--forge', ...options);
      expect(front.errors).toMatchObject([{ code: 'peer.handshake', context: { reason: 'fingerprintMismatch' } }]);
      expect(front.sessions[0]?.pictures).toBe(0);
    },
  );
});
