import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { countWork } from '../../../testing/count-work.ts';
import { MAX_UNIT_BYTES, type DepacketizedUnit } from '../depacketizer.ts';
import { H264Depacketizer, packetizeH264, splitAnnexB } from '../h264.ts';

const SPS = Buffer.from([0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40]);
const PPS = Buffer.from([0x68, 0xce, 0x3c, 0x80]);
/** A slice: first_mb_in_slice 0, slice_type 7, PPS 0 (bits 1, 0001000, 1). */
const nal = (header: number, bytes: number) =>
  Buffer.concat([Buffer.from([header, 0x88, 0x80]), randomBytes(bytes).map((byte) => byte | 1)]);
const annexB = (...units: Uint8Array[]) =>
  Buffer.concat(units.flatMap((unit) => [Buffer.from([0, 0, 0, 1]), Buffer.from(unit)]));

function reassemble(payloads: readonly Buffer[], depacketizer = new H264Depacketizer()): DepacketizedUnit {
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

/** A PPS of this id for SPS 0, padded to a size. */
function pps(id: number, bytes: number): Buffer {
  const code = (id + 1).toString(2);
  const bits = `${'0'.repeat(code.length - 1)}${code}1`; // ue(id), ue(0)
  const head = bits.match(/.{1,8}/g)?.map((byte) => parseInt(byte.padEnd(8, '1'), 2)) ?? [];
  return Buffer.concat([Buffer.of(0x68, ...head), Buffer.alloc(bytes, 0xa5)]);
}

/** As a sender of large units does: fragments of 1150 bytes. */
const send = (depacketizer: H264Depacketizer, unit: Buffer): DepacketizedUnit =>
  reassemble(packetizeH264(annexB(unit), 1150), depacketizer);

describe('packetizeH264 and H264Depacketizer', () => {
  it('cut and join any access unit to the same bytes (single, STAP-A, FU-A)', () => {
    for (const bytes of [1, 10, 500, 1196, 1197, 1198, 1199, 1200, 1201, 5000, 60_000]) {
      const unit = annexB(SPS, PPS, nal(0x65, bytes), nal(0x41, 300));
      const payloads = packetizeH264(unit, 1200);
      expect(Math.max(...payloads.map((payload) => payload.length))).toBeLessThanOrEqual(1200);
      expect(reassemble(payloads)).toEqual({ data: unit, keyframe: true });
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
    expect(reassemble(packetizeH264(annexB(SPS, PPS, nal(0x65, 50)), 1200))).toMatchObject({ keyframe: true });
    expect(reassemble(packetizeH264(annexB(SPS, PPS, nal(0x41, 50)), 1200))).toMatchObject({ keyframe: false });
  });

  it('prepends remembered parameter sets to an IDR that comes without, once', () => {
    const depacketizer = new H264Depacketizer();
    const first = reassemble(packetizeH264(annexB(SPS, PPS, nal(0x41, 20)), 1200), depacketizer);
    expect(first).toMatchObject({ keyframe: false });
    const idr = nal(0x65, 2000);
    const bare = reassemble(packetizeH264(annexB(idr), 1200), depacketizer);
    expect(bare).toEqual({ data: annexB(SPS, PPS, idr), keyframe: true });
    const complete = reassemble(packetizeH264(annexB(SPS, PPS, idr), 1200), depacketizer);
    expect(complete).toEqual({ data: annexB(SPS, PPS, idr), keyframe: true });
  });

  it('remembers by id: a new version replaces the old one', () => {
    const depacketizer = new H264Depacketizer();
    const newer = Buffer.from([0x67, 0x42, 0xc0, 0x20, 0xda, 0x02, 0x51]);
    reassemble([SPS, PPS], depacketizer);
    reassemble([newer], depacketizer);
    const idr = nal(0x65, 5);
    expect(reassemble([idr], depacketizer)).toEqual({ data: annexB(newer, PPS, idr), keyframe: true });
  });

  it('gives no unit for a missing fragment, an orphan fragment or a truncated aggregate', () => {
    const payloads = packetizeH264(annexB(nal(0x65, 5000)), 1200);
    expect(reassemble(payloads.slice(1))).toBe('damaged');
    expect(reassemble(payloads.slice(0, -1))).toBe('damaged');
    expect(reassemble([Buffer.from([0x78, 0, 200, 1, 2])])).toBe('damaged');
    expect(reassemble([])).toBe('damaged');
  });

  it('survives noise', () => {
    const depacketizer = new H264Depacketizer();
    for (let round = 0; round < 20_000; round += 1) {
      depacketizer.add({ payload: randomBytes(round % 40) });
      if (round % 5 === 0) depacketizer.finish();
    }
  });
});

describe('what a hostile sender can make H264Depacketizer do', () => {
  const TINY_IDR = Buffer.of(0x65, 0x88, 0x80, 0x10);

  it('puts no more in front of an IDR than the sets its slices refer to', () => {
    const depacketizer = new H264Depacketizer();
    send(depacketizer, SPS);
    for (let id = 0; id < 256; id += 1) send(depacketizer, pps(id, 20));
    const unit = send(depacketizer, TINY_IDR);
    expect(unit).toEqual({ data: annexB(SPS, pps(0, 20), TINY_IDR), keyframe: true });
  });

  it('remembers no set larger than 1 KiB, not more than 64 KiB in all, and counts what it refuses', () => {
    const depacketizer = new H264Depacketizer();
    send(depacketizer, SPS);
    send(depacketizer, PPS);
    for (let id = 0; id < 250; id += 1) send(depacketizer, pps(id, 200 * 1024));
    expect(depacketizer.refusedParameterSets).toBe(250);
    // PPS 0 was replaced by one that was not kept: the old one is not in front either.
    expect(send(depacketizer, TINY_IDR)).toEqual({ data: annexB(TINY_IDR), keyframe: true });
    for (let id = 0; id < 256; id += 1) send(depacketizer, pps(id, 1000));
    expect(depacketizer.refusedParameterSets).toBeGreaterThan(250 + 190);
    const work = countWork(() => send(depacketizer, TINY_IDR));
    expect(work).toBeLessThan(2500); // one PPS of 1 kB and the slice; 51 MB before
  });

  it('drops a unit of more than 4096 NAL units as oversize and goes on with the next', () => {
    const depacketizer = new H264Depacketizer();
    const aggregate = Buffer.concat([Buffer.of(24), ...Array.from({ length: 390 }, () => Buffer.of(0, 1, 0x41))]);
    expect(reassemble(Array(11).fill(aggregate) as Buffer[], depacketizer)).toBe('oversize');
    expect(reassemble([TINY_IDR], depacketizer)).toMatchObject({ keyframe: true });
  });

  it('never builds more than the bound', () => {
    const part = Buffer.alloc(1000, 0x41);
    const many = Array(Math.ceil(MAX_UNIT_BYTES / 1000)).fill(part) as Buffer[];
    expect(reassemble(many)).toBe('oversize');
  });
});
