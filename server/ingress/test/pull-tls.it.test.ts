import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { selfSignedCertificate } from '../../../testing/certificate.ts';
import { makePullClip } from '../../../testing/pull-clip.ts';
import { RtspServer } from '../../../testing/rtsp-server.ts';
import { until } from '../../../testing/until.ts';
import { Pulled, jobFor } from './pulled.ts';

/** RTSPS and RTMPS: an authority that NODE_EXTRA_CA_CERTS adds is trusted by the process that pulls, others are not. */

let folder: string;
let clip: string;
const certificate = selfSignedCertificate();
const cleanup: (() => unknown)[] = [];
const before = process.env['NODE_EXTRA_CA_CERTS'];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pull-tls-'));
  ({ file: clip } = await makePullClip(folder));
  await writeFile(join(folder, 'authority.pem'), certificate.cert);
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
  if (before === undefined) delete process.env['NODE_EXTRA_CA_CERTS'];
  else process.env['NODE_EXTRA_CA_CERTS'] = before;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function encoder(...args: string[]): void {
  const child = spawn(ffmpeg.path, ['-v', 'error', '-nostdin', '-re', '-stream_loop', '-1', '-i', clip, ...args], {
    stdio: 'ignore',
  });
  cleanup.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
}

/** TLS in front of a port, which may open later. @returns its own port */
async function inFrontOf(port: number): Promise<number> {
  const sockets = new Set<Socket>();
  const upstream = (client: TLSSocket): void => {
    const socket = connect(port, '127.0.0.1');
    sockets.add(socket);
    socket.once('connect', () => client.pipe(socket).pipe(client));
    socket.once('error', () => {
      if (!client.destroyed) setTimeout(upstream, 50, client);
    });
  };
  const server = createTlsServer(certificate, (client) => {
    sockets.add(client);
    client.on('error', () => undefined);
    upstream(client);
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function rtsps(): Promise<string> {
  const server = await RtspServer.open();
  cleanup.push(() => server.close());
  encoder('-c', 'copy', '-f', 'rtsp', '-rtsp_transport', 'tcp', `rtsp://127.0.0.1:${server.port}/cam`);
  await until(() => server.announced, 'the announcement');
  return `rtsps://127.0.0.1:${await inFrontOf(server.port)}/cam`;
}

async function rtmps(): Promise<string> {
  const port = await freePort();
  encoder('-c', 'copy', '-f', 'flv', '-listen', '1', `rtmp://127.0.0.1:${port}/live/cam`);
  return `rtmps://127.0.0.1:${await inFrontOf(port)}/live/cam`;
}

function pull(url: string): Pulled {
  const pulled = new Pulled(jobFor(url, { timeoutMs: 30_000 }));
  cleanup.push(() => pulled.process.close());
  return pulled;
}

it.each([
  ['RTSPS', rtsps],
  ['RTMPS', rtmps],
] as const)('%s with a good certificate brings pictures and sound', async (_name, serve) => {
  process.env['NODE_EXTRA_CA_CERTS'] = join(folder, 'authority.pem');
  const pulled = pull(await serve());
  await until(
    () => (pulled.video.length >= 20 && pulled.audio.length >= 20) || pulled.ended !== undefined,
    'pictures and sound',
  );
  expect(pulled.ended?.error?.message).toBeUndefined();
  expect(new Set(pulled.video.map(({ codec }) => codec))).toEqual(new Set(['H264']));
  // Every 12 pictures, wherever the stream was joined.
  expect(pulled.video.some(({ keyframe }) => keyframe)).toBe(true);
});

it('a certificate of an unknown authority is refused', async () => {
  delete process.env['NODE_EXTRA_CA_CERTS'];
  const pulled = pull(`rtsps://127.0.0.1:${await inFrontOf(await freePort())}/cam`);
  await until(() => pulled.ended !== undefined, 'the end');
  expect(pulled.ended?.error).toMatchObject({ code: 'target.unreachable' });
  expect(pulled.ended?.error?.message).toMatch(/SELF_SIGNED/);
});
