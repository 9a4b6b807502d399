import { describe, expect, it } from 'vitest';
import { Pacer } from '../child/pacer.ts';
import { Timeline } from '../child/timeline.ts';

/** Places packets of 40 ms of a stream. @returns their times on the one clock */
const run = (timeline: Timeline, stream: string, from: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => {
    const seconds = from + index * 0.04;
    return seconds + timeline.place(stream, seconds, 0.04);
  });

describe('Timeline', () => {
  it('begins at 0, keeps the distance of streams, and passes what is in order', () => {
    const timeline = new Timeline();
    expect(run(timeline, 'video', 5000, 2)).toEqual([0, expect.closeTo(0.04)]);
    expect(run(timeline, 'audio', 5000.5, 1)).toEqual([expect.closeTo(0.5)]);
    expect(run(timeline, 'video', 5001, 1)).toEqual([expect.closeTo(1)]);
  });

  it('keeps a stream that begins before the first one of the source on the same clock', () => {
    const timeline = new Timeline();
    run(timeline, 'video', 1.4, 1);
    const audio = run(timeline, 'audio', 0, 30);
    for (const [index, seconds] of audio.entries()) expect(seconds).toBeCloseTo(index * 0.04 - 1.4);
  });

  it.each([-4990, 4000])('a clock that jumps by %i s goes on, for the stream that jumps later too', (jump) => {
    const timeline = new Timeline();
    run(timeline, 'video', 5000, 25);
    run(timeline, 'audio', 5000, 25);
    expect(run(timeline, 'video', 5001 + jump, 25)[0]).toBeCloseTo(1);
    // Sound of before the jump, then of behind it.
    expect(run(timeline, 'audio', 5001, 5)[0]).toBeCloseTo(1);
    expect(run(timeline, 'audio', 5001.2 + jump, 5)[0]).toBeCloseTo(1.2);
    expect(run(timeline, 'video', 5002 + jump, 1)[0]).toBeCloseTo(2);
  });

  it('a file from its start again begins where everything has ended, however short it is and however often', () => {
    const timeline = new Timeline();
    for (let pass = 0; pass < 10; pass += 1) {
      if (pass > 0) timeline.join(0);
      const end = pass * 1.02;
      expect(run(timeline, 'video', 0, 25)[0]).toBeCloseTo(end);
      const audio = Array.from(
        { length: 51 },
        (_, index) => index * 0.02 + timeline.place('audio', index * 0.02, 0.02),
      );
      expect(audio[0]).toBeCloseTo(end);
      expect(timeline.endSeconds).toBeCloseTo(end + 1.02);
    }
  });
});

describe('Pacer', () => {
  it('waits until a packet is due by the first one', () => {
    const pacer = new Pacer();
    expect(pacer.waitMs(7, 1000)).toBe(0);
    expect(pacer.waitMs(7.5, 1000)).toBe(500);
    expect(pacer.waitMs(7.5, 1600)).toBe(0);
    // A little late is caught up with.
    expect(pacer.waitMs(8, 1600)).toBe(400);
  });

  it('moves everything after a stall instead of rushing', () => {
    const pacer = new Pacer();
    pacer.waitMs(0, 1000);
    expect(pacer.waitMs(1, 9000)).toBe(0);
    expect(pacer.waitMs(1.5, 9000)).toBe(500);
  });
});
