import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launchBrowser } from '../../tests/browser.ts';
import { Decoder } from '../codec/decoder.ts';
import type { Picture } from '../engine/upscaler.ts';
import type { AccessUnit, SourceCodec } from '../media/types.ts';
import type { RtcOptions } from './peers.ts';
import { WeriftStack } from './werift-stack.ts';

/**
 * Chromium publishes flat colour bars off a canvas; what the publisher peer and the decoder make of them has the colours
 * that were painted. Chromium converts a canvas by BT.709 full range, everything behind the decoder is BT.601 limited.
 */

const OPTIONS: RtcOptions = {
  iceServers: [],
  portRange: undefined,
  additionalHostAddresses: [],
  ipv6: false,
  interfaceAddresses: ['127.0.0.1'],
  jitterMs: 80,
  startBitrateBps: 2_500_000,
  maxIngestBitrateBps: undefined,
};

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
    await peer.setLocalDescription();
    await new Promise((resolve) => {
      if (peer.iceGatheringState === 'complete') resolve();
      peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && resolve();
      setTimeout(resolve, 2000);
    });
    await peer.setRemoteDescription({ type: 'answer', sdp: await signal(peer.localDescription.sdp) });
    const parameters = sender.getParameters();
    parameters.degradationPreference = 'maintain-resolution';
    await sender.setParameters(parameters);
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
  let stack: WeriftStack;
  let decoder: Decoder | undefined;
  let decoded: number;
  let latest: { bars: number[][]; colour: Picture['colour'] } | undefined;
  let told: AccessUnit['colour'][];

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
    stack = new WeriftStack(OPTIONS);
    decoder = undefined;
    decoded = 0;
    latest = undefined;
    told = [];
    page = await browser.newPage();
    page.on('pageerror', (error) => console.error('page:', error));
    await page.exposeFunction('signal', (sdp: string) => accept(sdp));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  });

  afterEach(async () => {
    await page.close();
    await stack.close();
    decoder?.close();
  });

  function accept(sdp: string): Promise<string> {
    return stack
      .createPublisher({
        onState: () => undefined,
        onAccessUnit: decode,
        onVideoPacket: () => undefined,
        onAudioPacket: () => undefined,
        onDrop: () => undefined,
      })
      .accept(sdp);
  }

  function decode(unit: AccessUnit): void {
    decoder ??= new Decoder({ codec: unit.codec, maxPixels: WIDTH * HEIGHT });
    if (unit.keyframe) told.push(unit.colour);
    for (const picture of decoder.decode(unit)) {
      decoded += 1;
      latest = { bars: middles(picture), colour: picture.colour };
      picture.release();
    }
  }

  for (const codec of ['VP8', 'VP9', 'H264'] as const satisfies readonly SourceCodec[]) {
    it(`${codec}: decoded within ${LEVELS} levels of what was painted`, async () => {
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
      expect(told[0], 'told with the first keyframe').toEqual({ matrix: 'bt709', range: 'full' });
      const errors = BARS.map((bar, at) => bar.map((level, plane) => (latest?.bars[at]?.[plane] ?? NaN) - level));
      const worst = Math.max(...errors.flat().map(Math.abs));
      console.log(`${codec}: worst ${worst} levels; ${errors.map((error) => error.join(',')).join(' | ')}`);
      expect(worst).toBeLessThanOrEqual(LEVELS);
    });
  }
});
