import type { BrowserContext, Page } from 'playwright-core';
import { readNumber } from './numbered-video.ts';

/** What a page saw of a numbered video: which frame, when, how large. Times of all pages of a browser share one clock. */
export interface SeenFrame {
  /** -1: not readable. */
  readonly number: number;
  /** performance.timeOrigin + time of presentation, ms. */
  readonly atMs: number;
  readonly width: number;
  readonly height: number;
}

/** Defines `frameProbe(video)` in a page: it logs every frame that the video element presents. */
function probeScript(): string {
  return `
    // esbuild (tsx) wraps named functions of evaluate() in its helper of this name.
    window.__name ??= (named) => named;
    window.readNumber = ${readNumber.toString()};
    window.frameProbe = (video) => {
      const log = [];
      // Two rows of luma straight from the decoded frame: drawing it on a canvas would convert every pixel first.
      const onFrame = (now) => {
        // First of all: an element that has no frame to give yet throws below, and the next frames count all the same.
        video.requestVideoFrameCallback(onFrame);
        const frame = new VideoFrame(video, { timestamp: 0 });
        const { codedWidth: width, codedHeight: height } = frame;
        const rect = { x: 0, y: 2 * Math.floor(height * 0.0275), width: width - (width % 2), height: 2 };
        const buffer = new Uint8Array(frame.allocationSize({ rect }));
        const entry = { number: -1, atMs: performance.timeOrigin + now, width: video.videoWidth, height: video.videoHeight };
        log.push(entry);
        frame.copyTo(buffer, { rect }).then(([layout]) => {
          entry.number = window.readNumber((x) => buffer[layout.offset + Math.floor(x * rect.width)]);
          frame.close();
        }, () => frame.close());
      };
      video.requestVideoFrameCallback(onFrame);
      return log;
    };
    // The camera's own frames as they enter the page, shown or not: the start of glass to glass.
    const captureFrames = async (track) => {
      const log = (window.capturedFrames = []);
      const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
      for (;;) {
        const { value: frame, done } = await reader.read();
        if (done) return;
        const atMs = performance.timeOrigin + performance.now();
        const { codedWidth: width, codedHeight: height } = frame;
        const buffer = new Uint8Array(frame.allocationSize());
        const [layout] = await frame.copyTo(buffer);
        frame.close();
        const luma = (x, y) => buffer[layout.offset + Math.floor(y * height) * layout.stride + Math.floor(x * width)];
        log.push({ number: window.readNumber(luma), atMs, width, height });
      }
    };
    const getUserMedia = navigator.mediaDevices?.getUserMedia?.bind(navigator.mediaDevices);
    if (getUserMedia) navigator.mediaDevices.getUserMedia = async (constraints) => {
      const stream = await getUserMedia(constraints);
      const [track] = stream.getVideoTracks();
      if (track) void captureFrames(track.clone());
      return stream;
    };`;
}

/** Before any page of the context loads. */
export async function installProbe(context: BrowserContext): Promise<void> {
  await context.addInitScript(probeScript());
}

/** Starts logging the frames of the element; again for an element that was probed before is harmless. */
export async function probe(page: Page, selector: string): Promise<void> {
  await page.waitForSelector(selector, { state: 'attached' });
  await page.evaluate((at) => {
    const scope = window as unknown as { probes?: Record<string, unknown>; frameProbe(video: Element | null): unknown };
    (scope.probes ??= {})[at] ??= scope.frameProbe(document.querySelector(at));
  }, selector);
}

export async function seenFrames(page: Page, selector: string): Promise<SeenFrame[]> {
  return page.evaluate(
    (at) => (window as unknown as { probes: Record<string, SeenFrame[]> }).probes[at] ?? [],
    selector,
  );
}

/** Frames as the camera delivered them to the publishing page. */
export async function capturedFrames(page: Page): Promise<SeenFrame[]> {
  return page.evaluate(() => (window as unknown as { capturedFrames?: SeenFrame[] }).capturedFrames ?? []);
}

/** Luma of what the element shows now, with the number of the frame it shows. */
export async function grabLuma(
  page: Page,
  selector: string,
): Promise<{ number: number; width: number; height: number; luma: Uint8Array }> {
  const grabbed = await page.evaluate((at) => {
    const video = document.querySelector(at) as HTMLVideoElement;
    const { videoWidth: width, videoHeight: height } = video;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d');
    if (context === null) throw new Error('no canvas context');
    context.drawImage(video, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    let text = '';
    const luma = new Uint8Array(width * height);
    for (let index = 0; index < luma.length; index += 1) {
      const at4 = 4 * index;
      luma[index] = 0.299 * (data[at4] ?? 0) + 0.587 * (data[at4 + 1] ?? 0) + 0.114 * (data[at4 + 2] ?? 0) + 0.5;
    }
    for (let start = 0; start < luma.length; start += 8192)
      text += String.fromCharCode(...luma.subarray(start, start + 8192));
    const scope = window as unknown as { readNumber(luma: (x: number, y: number) => number): number };
    const number = scope.readNumber((x, y) => luma[Math.floor(y * height) * width + Math.floor(x * width)] ?? 0);
    return { number, width, height, base64: btoa(text) };
  }, selector);
  const { base64, ...rest } = grabbed;
  return { ...rest, luma: Buffer.from(base64, 'base64') };
}

/** Latency of every frame seen by both: the numbers wrap with the looping camera file, so the latest earlier capture counts. */
export function glassToGlassMs(captured: readonly SeenFrame[], seen: readonly SeenFrame[]): number[] {
  const byNumber = new Map<number, number[]>();
  for (const { number, atMs } of captured)
    if (number >= 0) byNumber.set(number, [...(byNumber.get(number) ?? []), atMs]);
  return seen.flatMap(({ number, atMs }) => {
    const start = byNumber.get(number)?.findLast((at) => at <= atMs);
    return start === undefined || atMs - start > 5000 ? [] : [atMs - start];
  });
}
