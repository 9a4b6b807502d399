import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startApp, type App } from '../server/app.ts';
import { loadConfig } from '../server/config/config.ts';
import { createLog } from '../server/log.ts';
import { encodeClip, type Clip } from '../testing/clip.ts';
import { NodePublisher } from '../testing/peers/node-publisher.ts';
import { NodeViewer } from '../testing/peers/node-viewer.ts';
import { SignalingClient } from '../testing/peers/signaling-client.ts';

/** What comes and goes leaves nothing behind: sessions, timers, sockets, threads, memory. */
const PUBLISH_CYCLES = 100;
const VIEWERS = 200;

setFlagsFromString('--expose_gc');
const collectGarbage = runInNewContext('gc') as () => void;

let app: App;
let clip: Clip;

beforeAll(async () => {
  const argv = ['--port', '0', '--model', 'resize', '--log-level', 'silent', '--limits.maxMessagesPerSecond', '1000'];
  const config = loadConfig({ argv });
  app = await startApp(config, createLog(config.log));
  clip = await encodeClip({ codec: 'VP8', seconds: 1, bitrateBps: 200_000 });
});
afterAll(() => app.close());

/** Handles that keep a process alive, by kind; one-shot timers come and go and are left out. */
function handles(): Record<string, number> {
  const count: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind === 'UDPWRAP' || kind === 'MessagePort' || kind === 'Worker' || kind === 'TCPSocketWrap') {
      count[kind] = (count[kind] ?? 0) + 1;
    }
  }
  return count;
}

function residentMiB(): number {
  collectGarbage();
  return process.memoryUsage().rss / 2 ** 20;
}

async function publishOnce(signaling: SignalingClient, name: string): Promise<void> {
  const publisher = new NodePublisher({ clip, audio: true });
  let session = '';
  await publisher.start(async (offer) => {
    const reply = await signaling.publish(name, offer);
    session = reply.session;
    return reply.sdp;
  });
  await signaling.waitForState(session, 'live');
  await signaling.leave(session);
  await publisher.stop();
}

async function watchOnce(signaling: SignalingClient, name: string): Promise<void> {
  const viewer = new NodeViewer({ countOnly: true, audio: true });
  let session = '';
  await viewer.start(async (offer) => {
    const reply = await signaling.watch(name, offer);
    session = reply.session;
    return reply.sdp;
  });
  await viewer.waitForFrames(1);
  await signaling.leave(session);
  await viewer.stop();
}

it(`${PUBLISH_CYCLES} publishers come and go`, { timeout: 300_000 }, async () => {
  // One socket publishes one broadcast at a time.
  const signaling = await SignalingClient.connect(app.url);
  const second = await SignalingClient.connect(app.url);
  for (let cycle = 0; cycle < 15; cycle += 1) await publishOnce(signaling, 'warm-up');
  // Threads of the warm-up have ended.
  await expect.poll(() => handles()['MessagePort'] ?? 0, { timeout: 30_000 }).toBe(0);
  const before = { handles: handles(), mib: residentMiB() };
  for (let cycle = 0; cycle < PUBLISH_CYCLES; cycle += 2) {
    await Promise.all([publishOnce(signaling, 'a'), publishOnce(second, 'b')]);
  }
  await expect.poll(handles, { timeout: 30_000 }).toEqual(before.handles);
  expect(app.sessions.size).toBe(0);
  expect(app.registry.broadcastCount).toBe(0);
  // Each cycle runs a worker with decoder, scaler and encoder of some 20 MiB: a leak of one would show as gigabytes.
  expect(residentMiB() - before.mib).toBeLessThan(150);
  signaling.close();
  second.close();
});

it(`${VIEWERS} viewers join and leave`, { timeout: 300_000 }, async () => {
  const signaling = await SignalingClient.connect(app.url);
  const publisher = new NodePublisher({ clip, audio: true });
  let published = '';
  await publisher.start(async (offer) => {
    const reply = await signaling.publish('stage', offer);
    published = reply.session;
    return reply.sdp;
  });
  for (let count = 0; count < 20; count += 4)
    await Promise.all(Array.from({ length: 4 }, () => watchOnce(signaling, 'stage')));
  const before = { handles: handles(), mib: residentMiB() };
  for (let count = 0; count < VIEWERS; count += 4) {
    await Promise.all(Array.from({ length: 4 }, () => watchOnce(signaling, 'stage')));
  }
  await expect.poll(handles, { timeout: 30_000 }).toEqual(before.handles);
  expect(app.registry.list().broadcasts).toMatchObject([{ name: 'stage', viewers: 0 }]);
  expect(residentMiB() - before.mib).toBeLessThan(100);
  await signaling.leave(published);
  await publisher.stop();
  expect(app.sessions.size).toBe(0);
  signaling.close();
});
