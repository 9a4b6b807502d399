import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startApp, type App } from '../server/app.ts';
import { loadConfig } from '../server/config/config.ts';
import { createLog } from '../server/log.ts';
import { launchBrowser } from '../testing/browser.ts';
import { encodeClip } from '../testing/clip.ts';
import { Link } from '../testing/link.ts';
import { NodePublisher } from '../testing/peers/node-publisher.ts';
import { SignalingClient } from '../testing/peers/signaling-client.ts';

/** A Chromium viewer whose link cannot take the bit rate that a broadcast starts with. */
const CLIP = new URL('../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;
const THIN = { bitrateBps: 700_000, queueMs: 300 };

let app: App;
let browser: Browser;
let publisher: NodePublisher;
let signaling: SignalingClient;

beforeAll(async () => {
  const config = loadConfig({ argv: ['--port', '0', '--model', 'resize', '--log-level', 'silent'] });
  app = await startApp(config, createLog(config.log));
  const clip = await encodeClip({ codec: 'H264', file: CLIP, framesPerSecond: 30, seconds: 6, bitrateBps: 300_000 });
  signaling = await SignalingClient.connect(app.url);
  publisher = new NodePublisher({ clip, audio: true });
  await publisher.start(async (offer) => (await signaling.publish('thin', offer)).sdp);
  browser = await launchBrowser();
}, 90_000);
afterAll(async () => {
  await browser.close();
  await publisher.stop();
  signaling.close();
  await app.close();
});

async function watch(page: Page, link: Link): Promise<void> {
  await page.goto(app.url);
  const offer: string = await page.evaluate(async () => {
    const peer = new RTCPeerConnection();
    Object.assign(globalThis, { peer });
    for (const kind of ['video', 'audio']) peer.addTransceiver(kind, { direction: 'recvonly' });
    peer.addEventListener('track', ({ track }) => {
      if (track.kind !== 'video') return;
      const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true });
      video.srcObject = new MediaStream([track]);
      document.body.append(video);
    });
    await peer.setLocalDescription(await peer.createOffer());
    while (peer.iceGatheringState !== 'complete') await new Promise((resolve) => setTimeout(resolve, 50));
    return peer.localDescription?.sdp ?? '';
  });
  const answer = await link.signal(async (sdp) => (await signaling.watch('thin', sdp)).sdp)(offer);
  await page.evaluate(async (sdp) => {
    await (globalThis as unknown as { peer: RTCPeerConnection }).peer.setRemoteDescription({ type: 'answer', sdp });
  }, answer);
}

function framesDecoded(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const report = await (globalThis as unknown as { peer: RTCPeerConnection }).peer.getStats();
    const entries = [...(report as unknown as Map<string, Record<string, unknown>>).values()];
    const video = entries.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    return Number(video?.['framesDecoded'] ?? 0);
  });
}

it('comes down to what the link takes: the picture moves and nothing is dropped any more', async () => {
  const link = await Link.open({}, THIN);
  const page = await browser.newPage();
  await watch(page, link);
  // The first seconds overload it: that is what the bit rate comes down from.
  let good = 0;
  let seconds = 0;
  let before = { frames: 0, dropped: 0 };
  for (; good < 3 && seconds < 60; seconds += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const now = { frames: await framesDecoded(page), dropped: link.getStats().down.dropped };
    good = now.frames - before.frames >= 12 && now.dropped === before.dropped ? good + 1 : 0;
    before = now;
  }
  console.log(
    `thin viewer: even motion without loss after ${seconds - 3} s, ${before.dropped} packets dropped until then`,
  );
  expect(before.dropped).toBeGreaterThan(0);
  expect(good).toBe(3);
  await page.close();
  link.close();
}, 90_000);
