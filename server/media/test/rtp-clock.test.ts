import { describe, expect, it } from 'vitest';
import { RtpClock } from '../rtp-clock.ts';

describe('RtpClock', () => {
  const SECOND = 1_000_000;

  it('is the unwrapped timestamp of one stream, over the 32 bit wrap', () => {
    const clock = new RtpClock();
    const start = 0xffff_0000;
    for (let frame = 0; frame < 100; frame += 1) {
      const timestamp = (start + frame * 3000) % 2 ** 32;
      expect(clock.map('a', timestamp, frame * 33_333)).toBe(start + frame * 3000);
    }
  });

  it('goes on by wall time when another stream takes over, with any timestamps', () => {
    const clock = new RtpClock();
    const last = clock.map('a', 4_000_000_000, 10 * SECOND);
    const first = clock.map('b', 17, 12 * SECOND);
    expect(first - last).toBe(180_000);
    expect(clock.map('b', 17 + 3000, 12.033 * SECOND)).toBe(first + 3000);
  });

  it('never gives two pictures of two streams one time', () => {
    const clock = new RtpClock();
    const last = clock.map('a', 1000, SECOND);
    expect(clock.map('b', 1000, SECOND)).toBeGreaterThan(last);
  });

  it('takes a clock that restarts within its stream for a new one, but not a long pause', () => {
    const clock = new RtpClock();
    clock.map('a', 9_000_000, SECOND);
    const restarted = clock.map('a', 5, 2 * SECOND);
    expect(restarted).toBe(9_090_000);
    const paused = clock.map('a', 5 + 60 * 90_000, 62 * SECOND);
    expect(paused).toBe(restarted + 60 * 90_000);
  });

  it('lets B-frames and reordering step back a little', () => {
    const clock = new RtpClock();
    clock.map('a', 100_000, SECOND);
    expect(clock.map('a', 97_000, SECOND)).toBe(97_000);
    expect(clock.newest).toBe(100_000);
  });

  it('gives all packets of a picture one time', () => {
    const clock = new RtpClock();
    clock.map('a', 1000, 0);
    for (const marker of [false, false, true]) expect(clock.map('a', 4000, SECOND, marker)).toBe(4000);
    expect(clock.restamped).toBe(0);
  });
});

describe('RtpClock of a publisher whose timestamps do not advance', () => {
  const SECOND = 1_000_000;
  const FRAME_US = 33_333;

  /** One picture of one packet each 33 ms. @returns how many distinct, increasing times the pictures got */
  function play(clock: RtpClock, pictures: number, timestampOf: (n: number) => number, fromUs = 0) {
    let last = clock.newest ?? -Infinity;
    let distinct = 0;
    for (let n = 0; n < pictures; n += 1) {
      const mediaTime = clock.map('a', timestampOf(n) >>> 0, fromUs + n * FRAME_US, true);
      if (mediaTime > last) distinct += 1;
      last = Math.max(last, mediaTime);
    }
    return distinct;
  }

  it.each([
    ['stand still', () => 1234],
    ['run backwards', (n: number) => 0x7fffffff - n * 3000],
    ['run backwards slowly', (n: number) => 0x7fffffff - n * 30],
    ['alternate between two values', (n: number) => 90_000 + (n % 2) * 3000],
    ['jump back by half a second again and again', (n: number) => 90_000 + (n % 15) * 3000],
  ])('%s: its pictures get the time of their arrival, and are counted', (_, timestampOf) => {
    const clock = new RtpClock();
    const distinct = play(clock, 240, timestampOf);
    expect(distinct).toBeGreaterThan(240 - 20); // 1 or 8 before
    expect(clock.restamped).toBeGreaterThan(200);
    // By wall time: 240 pictures in 8 s.
    const first = timestampOf(0);
    expect(Math.abs((clock.newest ?? NaN) - first - 239 * 3000)).toBeLessThan(3000);
  });

  it('is believed again once it has advanced for a second', () => {
    const clock = new RtpClock();
    play(clock, 100, () => 1234);
    const restamped = clock.restamped;
    expect(restamped).toBeGreaterThan(90);
    const after = play(clock, 100, (n) => 1234 + (n + 1) * 3000, 100 * FRAME_US);
    expect(after).toBe(100);
    expect(clock.restamped).toBeLessThan(restamped + 35);
    const before = clock.newest ?? NaN;
    expect(clock.map('a', 1234 + 101 * 3000, 200 * FRAME_US + 5000, true) - before, 'by its own clock').toBe(3000);
  });

  it('leaves B-frames, parameter sets in a separate packet and pauses alone', () => {
    const clock = new RtpClock();
    // Decode order of I B B B P: the P picture comes first.
    const order = [0, 4, 2, 1, 3];
    for (let n = 0; n < 500; n += 1) {
      const picture = Math.floor(n / 4) * 4 + (order[1 + (n % 4)] as number);
      expect(clock.map('a', picture * 3000, n * FRAME_US, true)).toBe(picture * 3000);
      if (n % 50 === 0) expect(clock.map('a', picture * 3000, n * FRAME_US, true)).toBe(picture * 3000);
    }
    expect(clock.restamped).toBe(0);
    const pause = 600 * 3000 + 30 * 90_000;
    expect(clock.map('a', pause, 700 * FRAME_US + 30 * SECOND, true)).toBe(pause);
  });
});
