import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { selfSignedCertificate } from '../../testing/certificate.ts';
import { plainOffer } from '../../testing/hostile/offers.ts';
import { StubbornSocket, upgradeRequest } from '../../testing/hostile/sockets.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';

/**
 * SIGTERM ends the process within drainSeconds (3 by default) + 5 s, whatever state clients keep their sockets in; it waited for them
 * without end before. About 3.4 s on two idle cores: this file runs alone.
 */
const MOST_MS = 8000;

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function started(args: readonly string[] = [], scheme: 'http' | 'https' = 'http'): Promise<ServerProcess> {
  const server = await ServerProcess.start({ args, scheme });
  cleanup.push(() => server.kill());
  return server;
}

async function held(server: ServerProcess, send: string | Buffer = '', reads = true): Promise<StubbornSocket> {
  const client = await StubbornSocket.open(server.port, { send, reads });
  cleanup.push(() => client.socket.destroy());
  return client;
}

const text = (client: StubbornSocket, pattern: RegExp) =>
  expect.poll(() => client.text, { timeout: 20_000 }).toMatch(pattern);

it('stops with refused upgrades half open, WebSockets that ignore the close, idle and slow clients', async () => {
  const server = await started(['--limits.maxConnectionsPerAddress', '1']);
  await held(server);
  await held(server, 'GET / HTTP/1.1\r\nHost: a\r\n');
  const wrongPath = await held(server, upgradeRequest('/other'));
  const wrongOrigin = await held(server, upgradeRequest('/ws', ['Origin: http://evil.example']));
  const ignoresClose = await held(server, upgradeRequest('/ws'));
  await text(ignoresClose, /^HTTP\/1\.1 101 /);
  const overLimit = await held(server, upgradeRequest('/ws'));
  await held(server, 'GET /sample.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(20), false);
  await text(wrongPath, /^HTTP\/1\.1 404 /);
  await text(wrongOrigin, /^HTTP\/1\.1 403 /);
  await text(overLimit, /request\.tooMany/);
  await sleep(300); // the requests that are not answered have arrived
  server.signal('SIGTERM');
  expect(await server.endWithin(MOST_MS)).toEqual({ code: 0, signal: null });
  expect(server.log).toContain('server.stopped');
});

it('stops with TLS handshakes that never began or stand still', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashvsr-tls-'));
  cleanup.push(() => rmSync(folder, { recursive: true }));
  const { cert, key } = selfSignedCertificate();
  writeFileSync(join(folder, 'server.crt'), cert);
  writeFileSync(join(folder, 'server.key'), key);
  const server = await started(
    ['--tls-cert', join(folder, 'server.crt'), '--tls-key', join(folder, 'server.key')],
    'https',
  );
  await held(server);
  await held(server, Buffer.from('160301010001', 'hex'));
  await sleep(300);
  server.signal('SIGTERM');
  expect(await server.endWithin(MOST_MS)).toEqual({ code: 0, signal: null });
  expect(server.log).toContain('server.stopped');
});

it('a second signal ends it at once', async () => {
  const server = await started(['--drainSeconds', '600']);
  // A session that it waits for.
  const signaling = await SignalingClient.connect(server.url);
  cleanup.push(() => signaling.terminate());
  await signaling.watch('stays', plainOffer({ kind: 'watch' }));
  server.signal('SIGTERM');
  // Two signals that a process has not seen yet are one.
  await expect.poll(() => server.log, { timeout: 20_000 }).toContain('server.draining');
  server.signal('SIGTERM');
  expect(await server.endWithin(30_000)).toBeDefined();
});
