import { describe, expect, it } from 'vitest';
import { timestampTag } from '../../../testing/packed-aac.ts';
import { SegmentStart, SegmentTimes } from '../child/packed-audio.ts';

const SOUND = Buffer.from([0xff, 0xf1, 0x50, 0x80, 1, 2, 3, 4, 5, 6, 7, 8]);

/** @returns what the demuxer gets */
function segment(times: SegmentTimes, bytes: Buffer, pieceBytes = bytes.length): Buffer {
  const start = new SegmentStart(times);
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) out.push(start.take(bytes.subarray(at, at + pieceBytes)));
  return Buffer.concat([...out, start.end()]);
}

describe('the tag in front of a segment', () => {
  it.each([1, 3, 9, 10, 11, 70, 1000])('goes, whatever pieces it comes in (%i bytes)', (pieceBytes) => {
    const times = new SegmentTimes();
    expect(segment(times, Buffer.concat([timestampTag(900_000n), SOUND]), pieceBytes)).toEqual(SOUND);
    expect(times.offsetAt(0, 0)).toBe(10);
  });

  it.each([
    ['none', SOUND],
    ['fewer bytes than a tag has', SOUND.subarray(0, 4)],
    ['a tag that is cut off', timestampTag(1n).subarray(0, 40)],
    ['a size beyond every tag', Buffer.from('ID3\x04\0\0\x7f\x7f\x7f\x7f and so on', 'latin1')],
    ['nothing', Buffer.alloc(0)],
  ])('is not there: %s', (_what, bytes) => {
    const times = new SegmentTimes();
    expect(segment(times, bytes, 1)).toEqual(bytes);
    expect(times.offsetAt(0, 5)).toBe(0);
  });

  it('without a timestamp, and with a footer, goes too', () => {
    const times = new SegmentTimes();
    const tag = Buffer.concat([
      Buffer.from('ID3\x04\0\x10\0\0\0\x03', 'latin1'),
      Buffer.alloc(3),
      Buffer.from('3DI.......'),
    ]);
    expect(segment(times, Buffer.concat([tag, SOUND]))).toEqual(SOUND);
    expect(times.offsetAt(0, 5)).toBe(0);
  });
});

describe('times', () => {
  it('are those of the segment that a packet lies in, also over a gap', () => {
    const times = new SegmentTimes();
    segment(times, Buffer.concat([timestampTag(900_000n), SOUND]));
    segment(times, Buffer.concat([timestampTag(1_080_000n), SOUND]));
    // By the demuxer, which counts from 0, the second begins after 0.5 s.
    expect([times.offsetAt(0, 0), times.offsetAt(6, 0.25)]).toEqual([10, 10]);
    expect([times.offsetAt(12, 0.5), times.offsetAt(18, 0.75)]).toEqual([11.5, 11.5]);
  });

  it('go on evenly through a segment that says none', () => {
    const times = new SegmentTimes();
    segment(times, Buffer.concat([timestampTag(900_000n), SOUND]));
    segment(times, SOUND);
    expect([times.offsetAt(0, 0), times.offsetAt(12, 0.5)]).toEqual([10, 10]);
  });

  it('go on where 33 bits begin again, and back again', () => {
    const times = new SegmentTimes();
    for (const ticks of [2n ** 33n - 90_000n, 90_000n, 2n ** 33n - 90_000n])
      segment(times, Buffer.concat([timestampTag(ticks), SOUND]));
    expect([times.offsetAt(0, 0), times.offsetAt(12, 2), times.offsetAt(24, 4)]).toEqual([-1, -1, -5]);
  });
});
