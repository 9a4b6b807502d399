/** A shared screen: text that Chromium draws, standing and scrolling as a person reads it. */
import { launchBrowser } from '../../testing/browser.ts';
import { halfSize, rgbToI420, type I420 } from '../quality/colour.ts';
import { readPng } from '../quality/png.ts';

export interface ScrolledPage {
  text: string;
  /** Characters a line: how small the letters are. */
  columns: number;
  width: number;
  height: number;
  frames: number;
}

/** A second of reading, then half a second in which the page moves a third of its height. */
const STILL_FRAMES = 30;
const MOVING_FRAMES = 15;

/** Pixels scrolled at a frame, even, so that chroma moves by whole samples. */
export function scrollAt(frame: number, height: number): number {
  const turn = Math.floor(frame / (STILL_FRAMES + MOVING_FRAMES));
  const within = Math.max(0, (frame % (STILL_FRAMES + MOVING_FRAMES)) - STILL_FRAMES + 1);
  return 2 * Math.round(((turn + within / MOVING_FRAMES) * height) / 6);
}

/** Lines [top, top + height) of a picture; both even. */
export function cutLines({ width, height: fullHeight, data }: I420, top: number, height: number): I420 {
  const half = halfSize(width);
  const chroma = half * halfSize(fullHeight);
  const planes = [
    { start: 0, stride: width, step: 1 },
    { start: width * fullHeight, stride: half, step: 2 },
    { start: width * fullHeight + chroma, stride: half, step: 2 },
  ].map(({ start, stride, step }) =>
    data.subarray(start + (top / step) * stride, start + ((top + height) / step) * stride),
  );
  return { width, height, data: new Uint8Array(Buffer.concat(planes)) };
}

/** @throws Error when there is no Chromium */
export async function scrolledPage({ text, columns, width, height, frames }: ScrolledPage): Promise<I420[]> {
  const tall = height + scrollAt(frames, height) + 2;
  const browser = await launchBrowser({ camera: false });
  try {
    const page = await browser.newPage({ viewport: { width, height: tall } });
    // Letters of a monospace font are about 0.6 as wide as tall.
    const size = width / columns / 0.6;
    await page.setContent(
      `<body style="margin:0;padding:0 ${size}px;background:#fff;color:#222;overflow:hidden"><pre></pre></body>`,
    );
    await page.evaluate(
      ([words, px]) => {
        const pre = document.querySelector('pre') as HTMLElement;
        pre.style.cssText = `font:${px}px/1.4 monospace;white-space:pre-wrap`;
        pre.textContent = String(words).repeat(3);
      },
      [text, size] as const,
    );
    const picture = rgbToI420(readPng(await page.screenshot()));
    const cuts = new Map<number, I420>();
    return Array.from({ length: frames }, (_, t) => {
      const top = scrollAt(t, height);
      const cut = cuts.get(top) ?? cutLines(picture, top, height);
      cuts.set(top, cut);
      return cut;
    });
  } finally {
    await browser.close();
  }
}
