import { afterEach, expect, it } from 'vitest';
import { packetizeH264 } from '../../server/media/h264.ts';
import { encodeClip } from '../../testing/clip.ts';
import { HostilePublisher } from '../../testing/hostile/media-peer.ts';
import { makeSteps, type PublisherAttack } from '../../testing/hostile/publisher-attacks.ts';
import { NodeViewer } from '../../testing/peers/node-viewer.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { ServerProcess } from '../../testing/server-process.ts';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

it('a publisher that changes its aspect with every frame: memory and log stay flat, and it is shown again when it stops', async () => {
  const server = await ServerProcess.start({ args: ['--model', 'nano', '--log-level', 'info'] });
  cleanup.push(() => server.kill());
  const [wide, tall] = await Promise.all([
    encodeClip({ codec: 'H264', seconds: 1 }),
    encodeClip({ codec: 'H264', width: 180, height: 320, seconds: 1 }),
  ]);
  const publisher = await HostilePublisher.connect(server.url, 'flap');
  cleanup.push(() => publisher.stop());
  const signaling = await SignalingClient.connect(server.url);
  const viewer = new NodeViewer({ countOnly: true });
  cleanup.push(
    () => signaling.close(),
    () => viewer.stop(),
  );
  await viewer.start(async (sdp) => (await signaling.watch('flap', sdp)).sdp);

  let sequence = 1000;
  let pictures = 0;
  const showing = (name: string, perSecond: number, flaps: boolean): PublisherAttack => ({
    name,
    codec: 'H264',
    perSecond,
    async step() {
      const data = (flaps && pictures % 2 === 1 ? tall : wide).frames[0]?.data ?? Buffer.alloc(0);
      const payloads = packetizeH264(data, 1150);
      for (const [at, payload] of payloads.entries()) {
        const marker = at === payloads.length - 1;
        await publisher.send(payload, { index: sequence++, timestamp: pictures * 900, marker });
      }
      pictures += 1;
    },
  });
  await makeSteps(showing('steady', 30, false), publisher, 60);
  const startedMs = performance.now();
  const before = server.residentMiB();
  await makeSteps(showing('flap', 100, true), publisher, 800);
  expect(server.residentMiB() - before).toBeLessThan(200); // 65 MB more each second before
  const seconds = (performance.now() - startedMs) / 1000;
  expect(server.log.match(/pipeline\.format/g)?.length ?? 0).toBeLessThanOrEqual(3 + seconds / 5); // a line a frame before

  const seen = viewer.getStats().frames;
  await makeSteps(showing('steady again', 30, false), publisher, 150);
  await viewer.waitForFrames(seen + 5, 20_000);
  expect(server.exit).toBeUndefined();
}, 240_000);
