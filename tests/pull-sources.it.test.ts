import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { startApp, type App } from '../server/app.ts';
import { loadConfig } from '../server/config/config.ts';
import { createLog } from '../server/log.ts';
import { NodeViewer } from '../testing/peers/node-viewer.ts';
import { SignalingClient } from '../testing/peers/signaling-client.ts';
import { makePullClip } from '../testing/pull-clip.ts';
import { until } from '../testing/until.ts';

/** Pulled sources against the whole server: they become broadcasts like any other, and come back after a loss. */

let folder: string;
let clip: string;
const cleanup: (() => unknown)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pull-sources-'));
  ({ file: clip } = await makePullClip(folder));
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function start(list: readonly object[]): Promise<App> {
  const sources = list.map((source) => ({ ...source, retrySeconds: 0.1, maxRetrySeconds: 0.2 }));
  const argv = ['--port', '0', '--model', 'resize', '--model.scale', '2', '--log-level', 'silent'];
  const config = loadConfig({
    argv: [...argv, '--sources', JSON.stringify(sources), '--targets.allow', '["127.0.0.1"]'],
  });
  const app = await startApp(config, createLog(config.log));
  cleanup.push(() => app.close());
  return app;
}

async function watch(app: App, name: string): Promise<{ viewer: NodeViewer; audio: () => number }> {
  const signaling = await SignalingClient.connect(app.url);
  let packets = 0;
  const viewer = new NodeViewer({ codecs: ['H264'], audio: true, onAudioPacket: () => (packets += 1) });
  cleanup.push(
    () => signaling.close(),
    () => viewer.stop(),
  );
  await viewer.start(async (offer) => (await signaling.watch(name, offer)).sdp);
  return { viewer, audio: () => packets };
}

/** Serves the clip in a loop, at its pace, to the one RTMP player that comes. */
function serveRtmp(port: number): ChildProcess {
  const args = ['-re', '-stream_loop', '-1', '-i', clip, '-c', 'copy', '-f', 'flv', '-listen', '1'];
  const child = spawn(ffmpeg.path, ['-v', 'error', '-nostdin', ...args, `rtmp://127.0.0.1:${port}/live/cam`], {
    stdio: 'ignore',
  });
  cleanup.push(() => kill(child));
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

it('a file in a loop is a broadcast: its viewer gets upscaled pictures and its sound; stop() frees the name', async () => {
  const app = await start([{ name: 'file', url: pathToFileURL(clip).href }]);
  const { viewer, audio } = await watch(app, 'file');
  await viewer.waitForFrames(60);
  await until(() => audio() > 50, 'sound');
  expect(viewer.frames[0]).toMatchObject({ keyframe: true, codec: 'H264' });
  const times = viewer.frames.map(({ timestamp }) => timestamp);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  await until(() => app.registry.get('file')?.stats?.output.width === 512, 'statistics');
  expect(app.registry.list().broadcasts).toMatchObject([
    { name: 'file', state: 'live', sourceWidth: 256, outputWidth: 512 },
  ]);
  expect(app.registry.get('file')?.stats).toMatchObject({ source: { codec: 'H264' }, audio: { present: true } });
  expect(app.sources.list()).toMatchObject([
    {
      name: 'file',
      target: 'file://',
      state: 'delivering',
      connections: 1,
      failuresInARow: 0,
      stats: { hasAudio: true },
    },
  ]);
  await app.sources.stop('file');
  expect(app.sources.list()).toEqual([]);
  expect(app.registry.get('file')?.owned).toBe(false);
  await expect(app.sources.stop('file')).rejects.toMatchObject({ code: 'request.notFound' });
});

it('RTMP that is lost comes back: the name stays its own, the viewer stays, and its time goes on', async () => {
  const port = await freePort();
  const app = await start([{ name: 'cam', url: `rtmp://127.0.0.1:${port}/live/cam` }]);
  const { viewer, audio } = await watch(app, 'cam');
  const source = () => app.sources.list()[0];
  await until(() => (source()?.failuresInARow ?? 0) >= 2, 'failures');
  expect(source()).toMatchObject({ connections: 0, lastError: { code: 'target.unreachable' } });
  // The name is the source's before it has ever connected.
  const broadcast = app.registry.get('cam');
  const claim = () => broadcast?.claim({ token: undefined, kind: 'issued' }, 'stranger');
  expect(claim).toThrow('belongs to another publisher');

  const first = serveRtmp(port);
  await viewer.waitForFrames(20);
  await until(() => audio() > 20, 'sound');
  await kill(first);
  await until(() => source()?.state !== 'delivering', 'the loss');
  expect(claim).toThrow('belongs to another publisher');
  const before = viewer.frames.length;

  serveRtmp(port);
  await until(() => (source()?.connections ?? 0) >= 2, 'the return');
  await viewer.waitForFrames(before + 20);
  const times = viewer.frames.map(({ timestamp }) => timestamp);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  expect(new Set(times).size).toBe(times.length);
  expect(broadcast).toBe(app.registry.get('cam'));
});
