import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launchBrowser } from '../../../testing/browser.ts';
import { Decoder } from '../../codec/decoder.ts';
import type { AccessUnit, SourceCodec } from '../../media/types.ts';
import type { PublisherPeer, ViewerPeer } from '../peers.ts';
import { testRtcOptions } from '../../../testing/rtc-options.ts';
import { PeerStack } from '../peer-stack.ts';
import type { Picture } from '../../media/picture.ts';

/**
 * Chromium publishes flat colour bars off a canvas; what the publisher peer and the decoder make of them has the colours
 * that were painted, and so has the forwarded source where a viewer in Chromium shows it. Chromium converts a canvas by
 * BT.709 full range, everything behind the decoder is BT.601 limited.
 */

const OPTIONS = testRtcOptions({ ingestStartBitrateBps: 2_500_000 });

const WIDTH = 512;
const HEIGHT = 128;
const BARS: readonly (readonly [red: number, green: number, blue: number])[] = [
  [192, 192, 192],
  [192, 192, 0],
  [0, 192, 192],
  [0, 192, 0],
  [192, 0, 192],
  [192, 0, 0],
  [0, 0, 192],
  [16, 16, 16],
];
/** Flat bars compress without loss that shows: 1 level is measured with each codec, from rounding to 8-bit Y'CbCr twice. */
const LEVELS = 2;

const PAGE_SCRIPT = `
  async function publish(codec, bars, width, height) {
    const canvas = document.createElement('canvas');
    canvas.width = width; canvas.height = height;
    const context = canvas.getContext('2d');
    const paint = () => bars.forEach(([red, green, blue], bar) => {
      context.fillStyle = 'rgb(' + red + ',' + green + ',' + blue + ')';
      context.fillRect((bar * width) / bars.length, 0, width / bars.length, height);
    });
    paint();
    setInterval(paint, 40);
    const stream = canvas.captureStream(25);
    const peer = new RTCPeerConnection();
    const { sender } = peer.addTransceiver(stream.getVideoTracks()[0], { direction: 'sendonly' });
    const all = RTCRtpSender.getCapabilities('video').codecs;
    peer.getTransceivers()[0].setCodecPreferences(all.filter((c) => c.mimeType === 'video/' + codec));
    await negotiate(peer, 'publish');
    const parameters = sender.getParameters();
    parameters.degradationPreference = 'maintain-resolution';
    await sender.setParameters(parameters);
  }
  async function negotiate(peer, kind) {
    await peer.setLocalDescription();
    await new Promise((resolve) => {
      if (peer.iceGatheringState === 'complete') resolve();
      peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && resolve();
      setTimeout(resolve, 2000);
    });
    await peer.setRemoteDescription({ type: 'answer', sdp: await signal(kind, peer.localDescription.sdp) });
  }
  const video = document.createElement('video');
  video.muted = true; video.autoplay = true;
  document.body.append(video);
  async function watch() {
    const peer = new RTCPeerConnection();
    peer.addTransceiver('video', { direction: 'recvonly' });
    const source = peer.addTransceiver('video', { direction: 'recvonly' });
    video.srcObject = new MediaStream([source.receiver.track]);
    await negotiate(peer, 'watch');
  }
  /** Levels in the middle of each bar as shown, once 10 pictures were. */
  async function shown(bars) {
    for (let picture = 0; picture < 10; picture += 1) await new Promise((next) => video.requestVideoFrameCallback(next));
    const canvas = document.createElement('canvas');
    canvas.width = video.videoWidth; canvas.height = video.videoHeight;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(video, 0, 0);
    return Array.from({ length: bars }, (_, bar) =>
      [...context.getImageData(((bar + 0.5) * canvas.width) / bars, canvas.height / 2, 1, 1).data].slice(0, 3));
  }
`;

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** R'G'B' levels in the middle of each bar, by ITU-T H.273 8.3 for BT.601 limited; the decoder is not asked how. */
function middles(picture: Picture): number[][] {
  const row = picture.height >> 1;
  return BARS.map((_, bar) => {
    const x = Math.floor(((bar + 0.5) * picture.width) / BARS.length);
    const chroma = (row >> 1) * picture.uvStride + (x >> 1);
    const y = ((picture.y[row * picture.yStride + x] ?? 0) - 16) / 219;
    const cb = ((picture.u[chroma] ?? 0) - 128) / 224;
    const cr = ((picture.v[chroma] ?? 0) - 128) / 224;
    const red = y + 1.402 * cr;
    const blue = y + 1.772 * cb;
    const green = (y - 0.299 * red - 0.114 * blue) / 0.587;
    return [red, green, blue].map((value) => Math.round(255 * value));
  });
}

describe('colours of a canvas published by Chromium', () => {
  let browser: Browser;
  let server: Server;
  let page: Page;
  let stack: PeerStack;
  let publisher: PublisherPeer;
  let viewer: ViewerPeer | undefined;
  let decoder: Decoder | undefined;
  let decoded: number;
  let latest: { bars: number[][]; colour: Picture['colour'] } | undefined;
  let reported: AccessUnit['colour'][];

  beforeAll(async () => {
    server = createServer((_request, response) => {
      response.setHeader('content-type', 'text/html');
      response.end(`<!doctype html><title>bars</title><body><script>${PAGE_SCRIPT}</script>`);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    browser = await launchBrowser({ camera: false });
  });

  afterAll(async () => {
    await browser?.close();
    await new Promise((resolve) => server?.close(resolve));
  });

  beforeEach(async () => {
    stack = new PeerStack(OPTIONS);
    viewer = undefined;
    decoder = undefined;
    decoded = 0;
    latest = undefined;
    reported = [];
    page = await browser.newPage();
    page.on('pageerror', (error) => console.error('page:', error));
    await page.exposeFunction('signal', (kind: 'publish' | 'watch', sdp: string) => accept(kind, sdp));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  });

  afterEach(async () => {
    await page.close();
    await stack.close();
    decoder?.close();
  });

  function accept(kind: 'publish' | 'watch', sdp: string): Promise<string> {
    if (kind === 'publish') {
      publisher = stack.createPublisher({
        onState: () => undefined,
        onAccessUnit: decode,
        onVideoPacket: (packet, codec) => viewer?.sendSource(packet, codec),
        onAudioPacket: () => undefined,
        onDrop: () => undefined,
      });
      return publisher.accept(sdp);
    }
    viewer = stack.createViewer(
      {
        onState: (state) => state === 'connected' && publisher.requestKeyframe(),
        onKeyframeRequest: () => publisher.requestKeyframe(),
      },
      { width: WIDTH, height: HEIGHT },
    );
    return viewer.accept(sdp);
  }

  function decode(unit: AccessUnit): void {
    decoder ??= new Decoder({ codec: unit.codec, maxPixels: WIDTH * HEIGHT });
    if (unit.keyframe) reported.push(unit.colour);
    for (const picture of decoder.decode(unit)) {
      decoded += 1;
      latest = { bars: middles(picture), colour: picture.colour };
      picture.release();
    }
  }

  for (const codec of ['VP8', 'VP9', 'H264'] as const satisfies readonly SourceCodec[]) {
    it(`${codec}: decoded, and shown as the source, within ${LEVELS} levels of what was painted`, async () => {
      await page.evaluate(
        ([name, bars, width, height]) =>
          (globalThis as unknown as { publish(...a: unknown[]): Promise<void> }).publish(name, bars, width, height),
        [codec, BARS, WIDTH, HEIGHT] as const,
      );
      const end = Date.now() + 30_000;
      while (decoded < 50) {
        if (Date.now() > end) throw new Error(`${decoded} of 50 pictures within 30 s`);
        await wait(20);
      }
      expect(latest?.colour).toEqual({ matrix: 'bt601', range: 'limited' });
      expect(reported[0], 'reported with the first keyframe').toEqual({ matrix: 'bt709', range: 'full' });
      expectBars(`${codec} decoded`, latest?.bars ?? []);

      await page.evaluate(`watch()`);
      expectBars(`${codec} source at the viewer`, await page.evaluate<number[][]>(`shown(${BARS.length})`));
    });
  }
});

function expectBars(what: string, found: readonly (readonly number[])[]): void {
  const errors = BARS.map((bar, at) => bar.map((level, plane) => (found[at]?.[plane] ?? NaN) - level));
  const worst = Math.max(...errors.flat().map(Math.abs));
  console.log(`${what}: worst ${worst} levels; ${errors.map((error) => error.join(',')).join(' | ')}`);
  expect(worst, what).toBeLessThanOrEqual(LEVELS);
}
