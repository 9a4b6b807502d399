import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import type { App } from '../../server/app.ts';
import { launchBrowser } from '../../testing/browser.ts';
import { capturedFrames, glassToGlassMs, installProbe, probe, seenFrames } from '../../testing/frame-probe.ts';
import { makeNumberedVideo, writeY4m } from '../../testing/numbered-video.ts';
import { round, summarizePath, type PathResult } from './samples.ts';

const CLIP = new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;

export interface GlassResult {
  readonly forwarded: PathResult;
  readonly upscaled: PathResult;
  /** What the browser decoded a second, by its own count; a browser without a GPU may show fewer. */
  readonly decodedFps: { readonly forwarded: number; readonly upscaled: number };
  readonly browser: string;
}

async function decodedFrames(page: Page): Promise<{ result: number; source: number }> {
  return page.evaluate(async () => {
    const { keepAlive } = window as unknown as { keepAlive: [WebSocket, RTCPeerConnection] };
    const [result, source] = keepAlive[1].getTransceivers().map(({ receiver }) => receiver);
    const decoded = async (receiver: RTCRtpReceiver | undefined): Promise<number> => {
      const reports = [...((await receiver?.getStats()) ?? new Map()).values()] as {
        type: string;
        framesDecoded?: number;
      }[];
      return reports.find(({ type }) => type === 'inbound-rtp')?.framesDecoded ?? 0;
    };
    return { result: await decoded(result), source: await decoded(source) };
  });
}

/**
 * The least page that publishes or watches: the product's page holds the original back to show both pictures of a moment
 * together, which is what must not happen here. It is opened on a path of the server, for the WebSocket's origin.
 */
async function connect(page: Page, url: string, role: 'publish' | 'watch'): Promise<void> {
  await page.goto(`${url}/healthz`);
  await page.evaluate(async (as) => {
    const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/ws`);
    await new Promise((resolve) => socket.addEventListener('open', resolve));
    const ask = (id: number, message: object): Promise<{ type: string; sdp: string; message?: string }> =>
      new Promise((resolve) => {
        socket.addEventListener('message', ({ data }) => {
          const reply = JSON.parse(String(data)) as { re?: number; type: string; sdp: string };
          if (reply.re === id) resolve(reply);
        });
        socket.send(JSON.stringify({ ...message, id }));
      });
    await ask(1, { type: 'hello', version: 1 });
    const peer = new RTCPeerConnection();
    if (as === 'publish') {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 180, frameRate: 30 } });
      for (const track of stream.getTracks()) peer.addTrack(track, stream);
    } else {
      for (const name of ['result', 'source']) {
        const video = document.createElement('video');
        Object.assign(video, { id: name, muted: true, autoplay: true, playsInline: true });
        video.style.width = '320px';
        document.body.append(video);
        const { receiver } = peer.addTransceiver('video', { direction: 'recvonly' });
        video.srcObject = new MediaStream([receiver.track]);
      }
    }
    await peer.setLocalDescription();
    if (peer.iceGatheringState !== 'complete') {
      await new Promise<void>((resolve) =>
        peer.addEventListener('icegatheringstatechange', () => peer.iceGatheringState === 'complete' && resolve()),
      );
    }
    const reply = await ask(2, { type: as, name: 'glass', sdp: peer.localDescription?.sdp });
    if (reply.type === 'error') throw new Error(reply.message);
    await peer.setRemoteDescription({ type: 'answer', sdp: reply.sdp });
    Object.assign(window, { keepAlive: [socket, peer] });
  }, role);
}

/** Chromium's camera to Chromium's screen, both pictures on one page: capture to presentation of the same frame. */
export async function measureGlassToGlass(app: App, warmUpSeconds: number, seconds: number): Promise<GlassResult> {
  const folder = mkdtempSync(join(tmpdir(), 'flashvsr-glass-'));
  const cameraFile = join(folder, 'camera.y4m');
  writeY4m(makeNumberedVideo(CLIP, 320, 180, (warmUpSeconds + seconds + 10) * 30), cameraFile);
  const browser = await launchBrowser({ cameraFile });
  try {
    const context = await browser.newContext();
    await installProbe(context);
    const publisher = await context.newPage();
    await connect(publisher, app.url, 'publish');
    const watcher = await context.newPage();
    await connect(watcher, app.url, 'watch');
    await Promise.all([probe(watcher, '#result'), probe(watcher, '#source')]);
    await watcher.waitForTimeout(warmUpSeconds * 1000);
    const fromMs = Date.now();
    const before = await decodedFrames(watcher);
    await watcher.waitForTimeout(seconds * 1000);
    const after = await decodedFrames(watcher);
    const elapsed = (Date.now() - fromMs) / 1000;
    const decodedFps = {
      forwarded: round((after.source - before.source) / elapsed),
      upscaled: round((after.result - before.result) / elapsed),
    };
    const captured = await capturedFrames(publisher);
    const path = async (selector: string): Promise<PathResult> => {
      const seen = (await seenFrames(watcher, selector)).filter(({ atMs }) => atMs >= fromMs);
      return summarizePath(glassToGlassMs(captured, seen), elapsed);
    };
    return {
      forwarded: await path('#source'),
      upscaled: await path('#result'),
      decodedFps,
      browser: browser.version(),
    };
  } finally {
    await browser.close();
    rmSync(folder, { recursive: true });
  }
}
