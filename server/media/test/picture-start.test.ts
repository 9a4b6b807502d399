import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { packetizeH264 } from '../h264.ts';
import { startsPicture } from '../picture-start.ts';

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
