import { createSocket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { packetizeVp8 } from '../../server/media/vp8.ts';
import { encodeClip, type Clip } from '../../testing/clip.ts';
import { SrtpPeer } from '../../testing/hostile/srtp-peer.ts';
import { connectivityCheck } from '../../testing/hostile/stun.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { NodeViewer } from '../../testing/peers/node-viewer.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { buildBye } from '../../testing/rtcp.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';

/** What ends a session and what it survives: silence, a stopped server, noise among its packets. */

let server: ServerProcess;
let clip: Clip;
const ends: (() => unknown)[] = [];
beforeAll(async () => {
  server = await ServerProcess.start();
  clip = await encodeClip({ codec: 'VP8', seconds: 1, bitrateBps: 300_000 });
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  expect(server.exit).toBeUndefined();
  expect(server.log).not.toContain('unhandledRejection');
});
afterAll(() => server.kill());

describe('consent (RFC 7675)', () => {
  it('ends with the peer’s silence, even while strangers send (ice-03)', { timeout: 240_000 }, async () => {
    const silent = await SrtpPeer.connect(server.url, 'watch');
    const consenting = await SrtpPeer.connect(server.url, 'watch');
    ends.push(
      () => silent.close(),
      () => consenting.close(),
    );
    silent.path.consents = false;
    const stranger = createSocket('udp4');
    await new Promise<void>((resolve) => stranger.bind(0, '127.0.0.66', resolve));
    const timer = setInterval(() => {
      for (const data of [Buffer.from([0]), connectivityCheck(silent.path.server, 'abcd')])
        stranger.send(data, silent.path.server.port, '127.0.0.1');
    }, 1000);
    ends.push(
      () => stranger.close(),
      () => clearInterval(timer),
    );
    await silent.path.signaling.waitForState(silent.path.session, 'ended', 60_000);
    expect(consenting.path.signaling.states.some(({ state }) => state === 'ended')).toBe(false);
  });
});

describe('a broadcast', () => {
  it('survives 21 s in which the server’s process is stopped (fault-01)', { timeout: 240_000 }, async () => {
    const name = 'stopped';
    const [publishing, watching] = [
      await SignalingClient.connect(server.url),
      await SignalingClient.connect(server.url),
    ];
    const publisher = new NodePublisher({ clip });
    const viewer = new NodeViewer({ countOnly: true });
    ends.push(
      () => publishing.close(),
      () => watching.close(),
      () => publisher.stop(),
      () => viewer.stop(),
    );
    await publisher.start(async (sdp) => (await publishing.publish(name, sdp)).sdp);
    await viewer.start(async (sdp) => (await watching.watch(name, sdp)).sdp);
    await viewer.waitForFrames(30);
    server.signal('SIGSTOP');
    await sleep(21_000); // the server ends a session after 20 s of silence; a peer may give up 24 s after it last had consent
    server.signal('SIGCONT');
    const before = viewer.getStats().frames;
    await expect.poll(() => viewer.getStats().frames - before, { timeout: 40_000 }).toBeGreaterThan(60);
    const ended = [...publishing.states, ...watching.states].filter(({ state }) => state === 'ended');
    expect(ended).toEqual([]);
  });

  const noises: Readonly<Record<string, (peer: SrtpPeer, packet: Buffer, at: number) => void>> = {
    nothing: () => undefined,
    'packets of other SSRCs': (peer, _packet, at) => {
      for (let more = 0; more < 30; more += 1) {
        const payload = Buffer.from([0x10, 0, 0, 0]);
        peer.send(peer.rtp(payload, { index: 5 + more, timestamp: 1, marker: true, ssrc: 1 + at * 30 + more }));
      }
    },
    'each packet twenty times': (peer, packet) => {
      for (let more = 0; more < 20; more += 1) peer.send(packet);
    },
    BYE: (peer, _packet, at) => {
      if (at % 3 === 0) peer.send(peer.rtcp(buildBye([peer.ssrc])));
    },
    'false sender reports': (peer, _packet, at) => {
      if (at % 3 !== 0) return;
      const report = Buffer.alloc(28);
      report[0] = 0x80;
      report[1] = 200;
      report.writeUInt16BE(6, 2);
      report.writeUInt32BE(peer.ssrc, 4);
      randomBytes(16).copy(report, 8);
      peer.send(peer.rtcp(report));
    },
  };

  it.each(Object.keys(noises))('is delivered although its publisher sends %s (media-10)', async (name) => {
    const broadcast = `noise-${randomBytes(4).toString('hex')}`;
    const publisher = await SrtpPeer.connect(server.url, 'publish', broadcast);
    ends.push(() => publisher.close());
    const watching = await SignalingClient.connect(server.url);
    const viewer = new NodeViewer({ countOnly: true });
    ends.push(
      () => watching.close(),
      () => viewer.stop(),
    );
    await viewer.start(async (sdp) => (await watching.watch(broadcast, sdp)).sdp);
    let index = 1000;
    for (let at = 0; viewer.getStats().frames < 60 && at < 600; at += 1) {
      const payloads = packetizeVp8(clip.frames[at % clip.frames.length]?.data ?? Buffer.alloc(0), at & 0x7fff, 1100);
      payloads.forEach((payload, part) => {
        const marker = part === payloads.length - 1;
        const packet = publisher.rtp(payload, { index: index++, timestamp: at * 3000, marker });
        publisher.send(packet);
        noises[name]?.(publisher, packet, at);
      });
      await sleep(30);
    }
    expect(viewer.getStats().frames).toBeGreaterThanOrEqual(60);
    expect(publisher.path.signaling.states.some(({ state }) => state === 'ended')).toBe(false);
  });
});
