import { describe, expect, it } from 'vitest';
import { AudioAlignment } from '../audio-alignment.ts';
import { RtpClock } from '../rtp-clock.ts';
import { Unwrapper } from '../sequence.ts';

describe('Unwrapper', () => {
  it('counts on over the wrap, several times', () => {
    const unwrapper = new Unwrapper(16);
    let expected = 65_000;
    for (let step = 0; step < 200_000; step += 7) {
      expect(unwrapper.unwrap((65_000 + step) & 0xffff)).toBe(expected);
      expected += 7;
    }
  });

  it('places reordered values around the wrap where they belong', () => {
    const unwrapper = new Unwrapper(16);
    expect(unwrapper.unwrap(65_534)).toBe(65_534);
    expect(unwrapper.unwrap(1)).toBe(65_537);
    expect(unwrapper.unwrap(65_535)).toBe(65_535);
    expect(unwrapper.unwrap(0)).toBe(65_536);
    expect(unwrapper.newest).toBe(65_537);
  });

  it('peeks without moving its reference', () => {
    const unwrapper = new Unwrapper(32);
    unwrapper.unwrap(0xffff_fff0);
    expect(unwrapper.peek(5)).toBe(0x1_0000_0005);
    expect(unwrapper.newest).toBe(0xffff_fff0);
  });
});

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

describe('AudioAlignment', () => {
  it('maps audio to the video time line exactly once both tracks have reported', () => {
    const alignment = new AudioAlignment();
    alignment.onVideo(900_000, 5_000_000);
    // By arrival first: audio that arrives 100 ms after the picture is 9000 ticks later.
    expect(alignment.mediaTimeOf(48_000, 5_100_000)).toBeCloseTo(909_000);
    expect(alignment.basis).toBe('arrival');
    // Sender reports say: audio timestamp 48000 was sampled 20 ms before the picture at 900000.
    alignment.onVideoReport(1_000_000, 900_000);
    alignment.onAudioReport(980_000, 48_000);
    expect(alignment.basis).toBe('reports');
    expect(alignment.mediaTimeOf(48_000, 7_000_000)).toBeCloseTo(898_200);
    expect(alignment.mediaTimeOf(96_000, 9_000_000)).toBeCloseTo(898_200 + 90_000);
  });

  it('forgets reports of a track that restarts', () => {
    const alignment = new AudioAlignment();
    alignment.onVideo(900_000, 5_000_000);
    alignment.onVideoReport(1_000_000, 900_000);
    alignment.onAudioReport(1_000_000, 48_000);
    alignment.restart('audio');
    expect(alignment.basis).toBe('none');
    expect(alignment.mediaTimeOf(0, 5_000_000)).toBeCloseTo(900_000);
  });
});
