import { afterEach, expect, it } from 'vitest';
import { encodeClip, type Clip } from '../../testing/clip.ts';
import { Link } from '../../testing/link.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { NodeViewer } from '../../testing/peers/node-viewer.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { ServerProcess, sleep, type ServerProcessOptions } from '../../testing/server-process.ts';

/** Faults that the server is to get over, or to end from, with honest clients on it. */
const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function started(options: ServerProcessOptions): Promise<ServerProcess> {
  const server = await ServerProcess.start(options);
  cleanup.push(() => server.kill());
  return server;
}

async function publish(server: ServerProcess, name: string, clip: Clip): Promise<NodePublisher> {
  const signaling = await SignalingClient.connect(server.url);
  const publisher = new NodePublisher({ clip });
  cleanup.push(
    () => signaling.terminate(),
    () => publisher.stop(),
  );
  await publisher.start(async (offer) => (await signaling.publish(name, offer)).sdp);
  return publisher;
}

interface Watching {
  readonly viewer: NodeViewer;
  readonly signaling: SignalingClient;
}

async function watch(server: ServerProcess, name: string, link?: Link): Promise<Watching> {
  const signaling = await SignalingClient.connect(server.url);
  const viewer = new NodeViewer({ countOnly: true });
  cleanup.push(
    () => signaling.terminate(),
    () => viewer.stop(),
  );
  const accept = async (offer: string): Promise<string> => (await signaling.watch(name, offer)).sdp;
  await viewer.start(link === undefined ? accept : link.signal(accept));
  return { viewer, signaling };
}

const small = (): Promise<Clip> =>
  encodeClip({ codec: 'VP8', width: 160, height: 96, framesPerSecond: 15, seconds: 2, bitrateBps: 100_000 });

it("a viewer's line is dead for one second (media-08): it is shown again, the other goes on meanwhile", async () => {
  const server = await started({});
  await publish(server, 'outage', await small());
  const link = await Link.open();
  cleanup.push(() => link.close());
  const cut = await watch(server, 'outage', link);
  const other = await watch(server, 'outage');
  await cut.viewer.waitForFrames(15, 20_000);
  await other.viewer.waitForFrames(15, 20_000);
  const frames = { cut: cut.viewer.getStats().frames, other: other.viewer.getStats().frames };
  link.change({ lossPercent: 100 }, { lossPercent: 100 });
  await sleep(1000);
  await other.viewer.waitForFrames(frames.other + 10, 20_000);
  expect(link.getStats().down.dropped).toBeGreaterThan(0);
  expect(cut.viewer.getStats().frames - frames.cut).toBeLessThan(5);
  link.change({}, {});
  await cut.viewer.waitForFrames(frames.cut + 30, 20_000);
  await other.viewer.waitForFrames(frames.other + 40, 20_000);
  expect(cut.signaling.states.some(({ state }) => state === 'ended')).toBe(false);
}, 120_000);

it('64 MB of heap with the model nano (fault-02): a broadcast runs', async () => {
  const server = await started({ nodeArgs: ['--max-old-space-size=64'], args: ['--model', 'nano'] });
  await publish(server, 'heap', await small());
  const { viewer } = await watch(server, 'heap');
  // By number: how long 60 frames take is the machine's business.
  await viewer.waitForFrames(60, 100_000);
  expect(server.exit).toBeUndefined();
}, 120_000);

it('SIGTERM under three broadcasts and nine viewers (fault-02): ends within drainSeconds + 5 s', async () => {
  const server = await started({ args: ['--drainSeconds', '1', '--limits.maxBroadcasts', '3'] });
  const clip = await small();
  const viewers: NodeViewer[] = [];
  for (const name of ['a', 'b', 'c']) {
    await publish(server, name, clip);
    for (let viewer = 0; viewer < 3; viewer += 1) viewers.push((await watch(server, name)).viewer);
  }
  for (const viewer of viewers) await viewer.waitForFrames(5, 100_000);
  server.signal('SIGTERM');
  expect(await server.endWithin(6000)).toEqual({ code: 0, signal: null });
  expect(server.log).toContain('server.stopped');
}, 120_000);
