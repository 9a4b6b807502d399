import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { selfSignedCertificate } from '../../testing/certificate.ts';
import { clientHello } from '../../testing/hostile/dtls-peer.ts';
import { StubbornSocket, upgradeRequest } from '../../testing/hostile/sockets.ts';
import { ValidatedPath } from '../../testing/hostile/validated-path.ts';
import { ServerProcess } from '../../testing/server-process.ts';

/** 300 clients of each kind that go away half way: no socket stays. Sessions that end before ICE: ice.it.test.ts. */
const CLIENTS = 300;
const AT_ONCE = 50;

const folder = mkdtempSync(join(tmpdir(), 'flashvsr-half-way-'));
let plain: ServerProcess;
let secure: ServerProcess;
beforeAll(async () => {
  const { cert, key } = selfSignedCertificate();
  const [certificate, keyFile] = [join(folder, 'server.crt'), join(folder, 'server.key')];
  writeFileSync(certificate, cert);
  writeFileSync(keyFile, key);
  [plain, secure] = await Promise.all([
    ServerProcess.start(),
    ServerProcess.start({ args: ['--tls-cert', certificate, '--tls-key', keyFile], scheme: 'https' }),
  ]);
}, 90_000);
afterAll(async () => {
  await Promise.all([plain.kill(), secure.kill()]);
  rmSync(folder, { recursive: true });
});

const sockets = (server: ServerProcess): number => server.descriptors().filter((to) => to.startsWith('socket:')).length;

/** All of them, some at once. */
async function inBatches(one: () => Promise<() => void>): Promise<void> {
  for (let done = 0; done < CLIENTS; done += AT_ONCE) {
    const ends = await Promise.all(Array.from({ length: AT_ONCE }, one));
    for (const end of ends) end();
  }
}

describe('300 connections that end half way', () => {
  const kinds: Readonly<Record<string, { secure?: boolean; send: string | Buffer; answered?: RegExp }>> = {
    'TCP without a byte': { send: '' },
    'half a request': { send: 'GET / HTTP/1.1\r\nHost: a\r\nX: ' },
    'half an upload': { send: `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(2000)}` },
    'half a chunk': { send: 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nabc' },
    'half an upgrade': { send: upgradeRequest('/ws').slice(0, -4) },
    'a WebSocket without hello': { send: upgradeRequest('/ws'), answered: /^HTTP\/1\.1 101 / },
    'a WebSocket with half a frame': {
      send: Buffer.concat([Buffer.from(upgradeRequest('/ws')), Buffer.of(0x81, 0xfe, 0x10)]),
    },
    'half a TLS record': { secure: true, send: Buffer.from('160301020001', 'hex') },
    'TLS without a byte': { secure: true, send: '' },
  };

  it.each(Object.keys(kinds))('%s', { timeout: 90_000 }, async (name) => {
    const kind = kinds[name] ?? { send: '' };
    const server = kind.secure === true ? secure : plain;
    const before = sockets(server);
    await inBatches(async () => {
      const client = await StubbornSocket.open(server.port, { send: kind.send });
      if (kind.answered !== undefined) await expect.poll(() => client.text, { timeout: 20_000 }).toMatch(kind.answered);
      return () => client.socket.destroy();
    });
    await expect.poll(() => sockets(server), { timeout: 40_000, interval: 200 }).toBeLessThanOrEqual(before + 2);
    expect(server.exit).toBeUndefined();
  });
});

it('300 sessions that end in the middle of DTLS', { timeout: 120_000 }, async () => {
  const before = sockets(plain);
  for (let client = 0; client < CLIENTS; client += 1) {
    const path = await ValidatedPath.open(plain.url, { kind: 'watch' });
    path.send(clientHello());
    path.close();
  }
  await expect.poll(() => sockets(plain), { timeout: 60_000, interval: 500 }).toBeLessThanOrEqual(before + 2);
});
