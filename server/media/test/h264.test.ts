import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { H264Depacketizer, packetizeH264, splitAnnexB } from '../h264.ts';
import { startsPicture } from '../picture-start.ts';

const SPS = Buffer.from([0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40]);
const PPS = Buffer.from([0x68, 0xce, 0x3c, 0x80]);
const nal = (header: number, bytes: number) =>
  Buffer.concat([Buffer.from([header, 0x88]), randomBytes(bytes).map((byte) => byte | 1)]);
const annexB = (...units: Uint8Array[]) =>
  Buffer.concat(units.flatMap((unit) => [Buffer.from([0, 0, 0, 1]), Buffer.from(unit)]));

function reassemble(payloads: readonly Buffer[], depacketizer = new H264Depacketizer()) {
  for (const payload of payloads) depacketizer.add({ payload });
  return depacketizer.finish();
}

describe('splitAnnexB', () => {
  it('takes 3 and 4 byte start codes and drops trailing zeros', () => {
    const data = Buffer.from([0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65, 4, 5, 0, 0]);
    expect(splitAnnexB(data).map((unit) => [...unit])).toEqual([
      [0x67, 1, 2],
      [0x68, 3],
      [0x65, 4, 5],
    ]);
    expect(splitAnnexB(Buffer.from([1, 2, 3]))).toEqual([]);
  });
});

describe('packetizeH264 and H264Depacketizer', () => {
  it('cut and join any access unit to the same bytes (single, STAP-A, FU-A)', () => {
    for (const bytes of [1, 10, 500, 1196, 1197, 1198, 1199, 1200, 1201, 5000, 60_000]) {
      const unit = annexB(SPS, PPS, nal(0x65, bytes), nal(0x41, 300));
      const payloads = packetizeH264(unit, 1200);
      expect(Math.max(...payloads.map((payload) => payload.length))).toBeLessThanOrEqual(1200);
      const joined = reassemble(payloads);
      expect(joined?.keyframe).toBe(true);
      expect(joined?.data.equals(unit)).toBe(true);
    }
  });

  it('puts parameter sets into one STAP-A whose importance is the highest inside', () => {
    const [first] = packetizeH264(annexB(SPS, PPS, nal(0x65, 3000)), 1200);
    expect((first?.[0] ?? 0) & 0x1f).toBe(24);
    expect((first?.[0] ?? 0) & 0x60).toBe(0x60);
  });

  it('leaves access unit delimiters out', () => {
    const payloads = packetizeH264(annexB(Buffer.from([9, 0xf0]), nal(0x41, 10)), 1200);
    expect(payloads).toHaveLength(1);
    expect((payloads[0]?.[0] ?? 0) & 0x1f).toBe(1);
  });

  it('knows a keyframe inside a STAP-A, and that parameter sets alone are none', () => {
    expect(reassemble(packetizeH264(annexB(SPS, PPS, nal(0x65, 50)), 1200))?.keyframe).toBe(true);
    expect(reassemble(packetizeH264(annexB(SPS, PPS, nal(0x41, 50)), 1200))?.keyframe).toBe(false);
  });

  it('prepends remembered parameter sets to an IDR that comes without, once', () => {
    const depacketizer = new H264Depacketizer();
    expect(reassemble(packetizeH264(annexB(SPS, PPS, nal(0x41, 20)), 1200), depacketizer)?.keyframe).toBe(false);
    const idr = nal(0x65, 2000);
    const bare = reassemble(packetizeH264(annexB(idr), 1200), depacketizer);
    expect(bare?.data.equals(annexB(SPS, PPS, idr))).toBe(true);
    const complete = reassemble(packetizeH264(annexB(SPS, PPS, idr), 1200), depacketizer);
    expect(complete?.data.equals(annexB(SPS, PPS, idr))).toBe(true);
  });

  it('remembers by id: a new version replaces the old one', () => {
    const depacketizer = new H264Depacketizer();
    const newer = Buffer.from([0x67, 0x42, 0xc0, 0x20, 0xda, 0x02, 0x51]);
    reassemble([SPS, PPS], depacketizer);
    reassemble([newer], depacketizer);
    const idr = nal(0x65, 5);
    expect(reassemble([idr], depacketizer)?.data.equals(annexB(newer, PPS, idr))).toBe(true);
  });

  it('gives no unit for a missing fragment, an orphan fragment or a truncated aggregate', () => {
    const payloads = packetizeH264(annexB(nal(0x65, 5000)), 1200);
    expect(reassemble(payloads.slice(1))).toBeUndefined();
    expect(reassemble(payloads.slice(0, -1))).toBeUndefined();
    expect(reassemble([Buffer.from([0x78, 0, 200, 1, 2])])).toBeUndefined();
    expect(reassemble([])).toBeUndefined();
  });

  it('survives noise', () => {
    const depacketizer = new H264Depacketizer();
    for (let round = 0; round < 20_000; round += 1) {
      depacketizer.add({ payload: randomBytes(round % 40) });
      if (round % 5 === 0) depacketizer.finish();
    }
  });
});

describe('startsPicture', () => {
  it('tells a first slice from a later one, in every kind of packet', () => {
    const first = nal(0x41, 3000); // 0x88: first_mb_in_slice is 0
    const later = Buffer.concat([Buffer.from([0x41, 0x42]), randomBytes(100)]);
    expect(startsPicture('H264', first)).toBe(true);
    expect(startsPicture('H264', later)).toBe(false);
    const fragments = packetizeH264(annexB(first), 1200);
    expect(fragments.map((payload) => startsPicture('H264', payload))).toEqual([true, false, false]);
    expect(startsPicture('H264', packetizeH264(annexB(SPS, PPS), 1200)[0] ?? Buffer.alloc(0))).toBe(true);
    expect(startsPicture('H264', Buffer.alloc(0))).toBe(false);
  });
});
