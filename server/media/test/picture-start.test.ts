import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { packetizeAv1 } from '../../../testing/av1-packets.ts';
import { makeAv1Stream } from '../../../testing/av1-stream.ts';
import { packetizeH264 } from '../h264.ts';
import { packetizeVp8 } from '../vp8.ts';
import { startsKeyframe, startsPicture } from '../picture-start.ts';

const SPS = Buffer.from([0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40]);
const PPS = Buffer.from([0x68, 0xce, 0x3c, 0x80]);
const nal = (header: number, bytes: number) =>
  Buffer.concat([Buffer.from([header, 0x88]), randomBytes(bytes).map((byte) => byte | 1)]);
const annexB = (...units: Uint8Array[]) =>
  Buffer.concat(units.flatMap((unit) => [Buffer.from([0, 0, 0, 1]), Buffer.from(unit)]));

describe('startsPicture', () => {
  it('distinguishes a first slice from a later one in every kind of packet', () => {
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

describe('startsKeyframe', () => {
  const which = (codec: 'H264' | 'VP8' | 'VP9' | 'AV1', payloads: readonly Buffer[]) =>
    payloads.flatMap((payload, at) => (startsKeyframe(codec, payload) ? [at] : []));

  it('H264: parameter sets or the first slice of an IDR, aggregated or in fragments', () => {
    const idr = nal(0x65, 3000);
    expect(which('H264', [SPS, PPS, nal(0x65, 20), nal(0x41, 20)])).toEqual([0, 2]);
    expect(which('H264', packetizeH264(annexB(SPS, PPS, idr), 1200))).toEqual([0, 1]);
    expect(which('H264', packetizeH264(annexB(nal(0x41, 3000)), 1200))).toEqual([]);
  });

  it('VP8 and VP9: the first packet of a key frame', () => {
    const frame = (tag: number) => Buffer.concat([Buffer.of(tag), randomBytes(3000)]);
    expect(which('VP8', packetizeVp8(frame(0x10), 1, 1200))).toEqual([0]);
    expect(which('VP8', packetizeVp8(frame(0x11), 1, 1200))).toEqual([]);
    const packets = [
      [0x88, 1, 9],
      [0x84, 1, 9],
      [0xcc, 2, 9],
      [0x2c, 0x02, 0x07, 9],
    ].map((bytes) => Buffer.from(bytes));
    expect(which('VP9', packets)).toEqual([0]);
  });

  it('AV1: the packet with the sequence header', () => {
    const units = makeAv1Stream(160, 96, 4, 2).map(({ data }) => packetizeAv1(data, { maxBytes: 200 }));
    expect(units.map((payloads) => which('AV1', payloads))).toEqual([[0], [], [0], []]);
  });
});
