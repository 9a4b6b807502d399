import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchBrowser } from '../../testing/browser.ts';
import { grabLuma, installProbe, probe, seenFrames } from '../../testing/frame-probe.ts';
import { makeNumberedVideo, writeY4m, type NumberedVideo } from '../../testing/numbered-video.ts';
import { resizeLuma } from '../../testing/resize-luma.ts';
import { WhipServer } from '../../testing/whip-server.ts';

/** npm's WHIP and WHEP clients (whip-whep, by an author of RFC 9725) in Chromium, on a page of another origin. */
const CLIP = new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;
const { resolve } = createRequire(import.meta.url);
const [WIDTH, HEIGHT] = [160, 90];

let folder: string;
let site: Server;
let origin: string;
let video: NumberedVideo;
let server: WhipServer;
let browser: Browser;
let context: BrowserContext;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'players-'));
  video = makeNumberedVideo(CLIP, WIDTH, HEIGHT, 600);
  writeY4m(video, join(folder, 'camera.y4m'));
  site = createServer((request, response) => {
    const name = request.url?.slice(1) ?? '';
    const isScript = ['whip.js', 'whep.js'].includes(name);
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    response.end(
      isScript ? readFileSync(resolve(`whip-whep/${name}`)) : '<!doctype html><video autoplay muted></video>',
    );
  });
  await new Promise<void>((listening) => site.listen(0, '127.0.0.1', listening));
  origin = `http://localhost:${(site.address() as AddressInfo).port}`;
  server = await WhipServer.start(['--http.allowedOrigins', JSON.stringify([origin])]);
  browser = await launchBrowser({ cameraFile: join(folder, 'camera.y4m') });
  context = await browser.newContext();
  await installProbe(context);
});
afterAll(async () => {
  await browser.close();
  await server.close();
  site.closeAllConnections();
  site.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A page of the site that has run this module. */
async function open(module: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(origin);
  await page.addScriptTag({ type: 'module', content: module });
  await page.waitForFunction(() => 'client' in window, undefined, { timeout: 60_000 });
  return page;
}

const end = (page: Page) =>
  page.evaluate(() => (window as unknown as { client: { stop(): Promise<void> } }).client.stop());

it('publish and play: the camera’s own pictures arrive in order, four times as large; stop() frees both at once', async () => {
  const studio = await open(`
    import { WHIPClient } from '/whip.js';
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: ${WIDTH}, height: ${HEIGHT} }, audio: true });
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    for (const track of stream.getTracks()) peer.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
    const client = new WHIPClient();
    await client.publish(peer, '${server.url}/whip/players', 'token-of-the-studio');
    window.client = client;`);
  await expect.poll(() => server.app.registry.get('players')?.state).toBe('live');
  const player = await open(`
    import { WHEPClient } from '/whep.js';
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const stream = new MediaStream();
    peer.ontrack = ({ track }) => stream.addTrack(track);
    peer.addTransceiver('audio', { direction: 'recvonly' });
    peer.addTransceiver('video', { direction: 'recvonly' });
    const client = new WHEPClient();
    await client.view(peer, '${server.url}/whep/players');
    document.querySelector('video').srcObject = stream;
    window.client = client;`);
  await probe(player, 'video');
  await expect.poll(async () => (await seenFrames(player, 'video')).length).toBeGreaterThan(60);

  const seen = await seenFrames(player, 'video');
  expect(seen.at(-1)).toMatchObject({ width: 4 * WIDTH, height: 4 * HEIGHT });
  const numbers = seen.map(({ number }) => number).filter((number) => number >= 0);
  const backwards = numbers.filter((number, at) => at > 0 && number < (numbers[at - 1] ?? 0));
  expect(backwards.length).toBeLessThanOrEqual(Math.ceil(seen.length / video.frames.length)); // the camera's file begins again
  const likeness = async (): Promise<number> => {
    const { number, width, height, luma } = await grabLuma(player, 'video');
    const source = video.frames[number]?.subarray(0, WIDTH * HEIGHT);
    return source === undefined ? 0 : psnr(luma, resizeLuma(source, WIDTH, HEIGHT, width, height));
  };
  await expect.poll(likeness).toBeGreaterThan(20);
  await expect.poll(() => server.stats('players')?.audio.present).toBe(true);

  await end(player);
  await end(studio);
  await expect.poll(() => server.app.sessions.size).toBe(0);
});

function psnr(a: Uint8Array, b: Uint8Array): number {
  const error = a.reduce((sum, value, at) => sum + (value - (b[at] ?? 0)) ** 2, 0) / a.length;
  return 10 * Math.log10(255 ** 2 / error);
}
