import { afterEach, describe, expect, it } from 'vitest';
import { encodeClip } from '../../testing/clip.ts';
import { StubbornSocket } from '../../testing/hostile/sockets.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { NodeViewer } from '../../testing/peers/node-viewer.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';

/** File descriptors run out: at start with a sentence, at run time without harm to the streams that exist. */
const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function limited(openFiles: number): Promise<ServerProcess> {
  // Results of the source's size cost little: this is about descriptors, not about speed.
  const server = await ServerProcess.start({ openFiles, args: ['--scale', '1'] });
  cleanup.push(() => server.kill());
  return server;
}

async function signalingOf(server: ServerProcess): Promise<SignalingClient> {
  const client = await SignalingClient.connect(server.url);
  cleanup.push(() => client.terminate());
  return client;
}

/** A broadcast with one viewer, over real WebRTC. */
async function broadcast(server: ServerProcess, name: string): Promise<NodeViewer> {
  const clip = await encodeClip({ codec: 'VP8', seconds: 1, bitrateBps: 200_000 });
  const signaling = await signalingOf(server);
  const publisher = new NodePublisher({ clip });
  cleanup.push(() => publisher.stop());
  await publisher.start(async (offer) => (await signaling.publish(name, offer)).sdp);
  const viewer = new NodeViewer({ countOnly: true });
  cleanup.push(() => viewer.stop());
  await viewer.start(async (offer) => (await signaling.watch(name, offer)).sdp);
  await viewer.waitForFrames(10, 90_000);
  return viewer;
}

it('ulimit -n 64: a sentence that names limit and remedy, exit 1, no stack', async () => {
  const server = await ServerProcess.start({ openFiles: 64, mustStart: false });
  cleanup.push(() => server.kill());
  expect(await server.endWithin(20_000)).toEqual({ code: 1, signal: null });
  expect(server.log).toMatch(/limit of open files is 64; .*at least 96/);
  expect(server.log).toContain('ulimit -n');
  expect(server.log).not.toMatch(/EMFILE|\n\s+at /);
});

describe('descriptors run out while it runs', () => {
  it('ulimit -n 100: newcomers get a reason, the broadcast goes on, places come back', async () => {
    const server = await limited(100);
    const viewer = await broadcast(server, 'good');
    const idle: StubbornSocket[] = [];
    cleanup.push(() => idle.forEach(({ socket }) => socket.destroy()));
    const signaling = await signalingOf(server);
    for (let tries = 0; tries < 100 && server.descriptors().length < 100; tries += 1) {
      idle.push(await StubbornSocket.open(server.port));
      await sleep(10);
    }
    const clip = await encodeClip({ codec: 'VP8', seconds: 1, bitrateBps: 200_000 });
    const late = new NodePublisher({ clip });
    cleanup.push(() => late.stop());
    const answer = await late
      .start(async (offer) => (await signaling.publish('late', offer)).sdp)
      .then(
        () => 'published',
        (error: Error) => error.message,
      );
    expect(answer).not.toContain('EMFILE: ');
    await viewer.waitForFrames(viewer.getStats().frames + 20, 90_000);
    expect(server.exit).toBeUndefined();
    for (const { socket } of idle) socket.destroy();
    await late.stop();
    signaling.terminate();
    const healthy = () =>
      server.get('/healthz').then(
        ({ status }) => status,
        () => 0,
      );
    await expect.poll(healthy, { timeout: 20_000 }).toBe(200);
    await broadcast(server, 'again');
  }, 400_000);
});
