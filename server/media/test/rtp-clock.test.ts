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

  it('goes on by wall time when another stream takes over, whatever its timestamps', () => {
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
});
