import { expect, it } from 'vitest';
import { presentationDelayMs } from '../presentation.ts';

const flashVsr = { kind: 'flashvsr', chunkFrames: 8, lookAheadFrames: 4 } as const;

it('is small and independent of the frame rate for kinds that work frame by frame', () => {
  for (const kind of ['resize', 'onnx'] as const) {
    const info = { kind, chunkFrames: 1, lookAheadFrames: 0 };
    expect(presentationDelayMs(info, 30)).toBeLessThanOrEqual(40);
    expect(presentationDelayMs(info, 30)).toBe(presentationDelayMs(info, 10));
  }
});

it('covers gathering, look-ahead and work of a chunk, in frames of the source', () => {
  const delayMs = presentationDelayMs(flashVsr, 30);
  // A chunk's first picture cannot come out before 7 + 4 more frames arrived.
  expect(delayMs).toBeGreaterThan((11 * 1000) / 30);
  // And need not wait longer than the next chunk takes to gather on top.
  expect(delayMs).toBeLessThan((19 * 1000) / 30 + 20);
  expect(presentationDelayMs(flashVsr, 15)).toBeGreaterThan(delayMs * 1.8);
});

it('adds a look-ahead of frame-by-frame kinds', () => {
  const info = { kind: 'onnx', chunkFrames: 1, lookAheadFrames: 2 } as const;
  expect(presentationDelayMs(info, 25) - presentationDelayMs({ ...info, lookAheadFrames: 0 }, 25)).toBe(80);
});
