import { describe, expect, it } from 'vitest';
import { FramePacer, MediaTimeline } from '../pacer.ts';

const MS = 1000;
const FRAME = 3000; // ticks at 30 fps
const frameUs = 1e6 / 30;

describe('FramePacer', () => {
  it('spaces a chunk of eight frames out to media time + delay', () => {
    const pacer = new FramePacer<number>({ presentationDelayMs: 400, maxLateMs: 200 });
    // Eight frames arrived 33 ms apart, the upscaler hands them out together when the last one is done.
    for (let n = 0; n < 8; n += 1) pacer.push(n, n * FRAME, n * frameUs);
    const released: [number, number][] = [];
    for (let nowUs = 8 * frameUs; nowUs < 1e6; nowUs += MS) {
      for (const frame of pacer.take(nowUs).due) released.push([frame, nowUs / MS]);
    }
    expect(released.map(([frame]) => frame)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    released.forEach(([frame, atMs]) => expect(Math.abs(atMs - (400 + frame * 33.33))).toBeLessThan(2));
    expect(pacer.nextDueAtUs).toBeUndefined();
  });

  it('does not pass network jitter on', () => {
    const pacer = new FramePacer<number>({ presentationDelayMs: 100, maxLateMs: 200 });
    const jitter = [0, 9, 3, 12, 0, 7, 15, 2, 0, 11];
    const due: number[] = [];
    jitter.forEach((lateMs, n) => {
      const arrivedUs = n * frameUs + lateMs * MS;
      pacer.push(n, n * FRAME, arrivedUs);
      due.push(pacer.nextDueAtUs ?? NaN);
      pacer.take((pacer.nextDueAtUs ?? 0) + 1);
    });
    due.slice(1).forEach((atUs, n) => expect(atUs - (due[n] as number)).toBeCloseTo(frameUs, 0));
  });

  it('releases late frames at once and gives up those far too late', () => {
    const pacer = new FramePacer<number>({ presentationDelayMs: 50, maxLateMs: 100 });
    pacer.push(0, 0, 0);
    pacer.take(50 * MS);
    pacer.push(1, FRAME, frameUs);
    expect(pacer.take(frameUs + 120 * MS)).toEqual({ due: [1], late: [], lateMs: [70] });
    pacer.push(2, 2 * FRAME, 2 * frameUs);
    expect(pacer.take(2 * frameUs + 160 * MS)).toEqual({ due: [], late: [2], lateMs: [] });
  });

  it('never runs backwards and never holds more than its bound', () => {
    const pacer = new FramePacer<number>({ presentationDelayMs: 1000, maxLateMs: 100, maxFrames: 10 });
    for (let n = 0; n < 30; n += 1) pacer.push(n, n * FRAME, n * frameUs);
    expect(pacer.take(30 * frameUs).due).toHaveLength(20);
    expect(pacer.length).toBe(10);
    pacer.clear();
    expect(pacer.length).toBe(0);
  });
});

describe('MediaTimeline', () => {
  it('follows a publisher clock that drifts, within seconds', () => {
    const timeline = new MediaTimeline();
    const drift = 1.0005; // 500 ppm: 0.5 ms a second
    for (let n = 0; n < 3600; n += 1) timeline.onArrival(n * FRAME, n * frameUs * drift);
    const arrival = timeline.arrivalOf(3599 * FRAME) ?? NaN;
    expect(Math.abs(arrival - 3599 * frameUs * drift)).toBeLessThan(6 * MS);
  });
});
