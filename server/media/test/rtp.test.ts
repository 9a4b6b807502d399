import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { MAX_EXTENSION_BYTES, buildRtpHeader, findExtension, low32, parseRtp } from '../rtp.ts';

describe('RTP', () => {
  const fields = { marker: true, payloadType: 96, sequenceNumber: 65_535, timestamp: 2 ** 32 + 7, ssrc: 0xdeadbeef };

  it('reads back what it writes, extensions included', () => {
    const header = buildRtpHeader(fields, [
      { id: 3, value: Buffer.from([1, 2, 3]) },
      { id: 14, value: Buffer.from([9]) },
    ]);
    expect(header.length % 4).toBe(0);
    const packet = parseRtp(Buffer.concat([header, Buffer.from('payload')]));
    expect(packet).toMatchObject({ ...fields, timestamp: 7 });
    expect(packet?.payload.toString()).toBe('payload');
    if (packet === undefined) return;
    expect(findExtension(packet, 3)).toEqual(Buffer.from([1, 2, 3]));
    expect(findExtension(packet, 14)).toEqual(Buffer.from([9]));
    expect(findExtension(packet, 4)).toBeUndefined();
  });

  it('reads two-byte extensions (RFC 8285 section 4.3)', () => {
    const header = buildRtpHeader({ ...fields, marker: false });
    header[0] = 0x90;
    const block = Buffer.from([0x10, 0x00, 0, 2, 20, 3, 1, 2, 3, 0, 0, 0]);
    const packet = parseRtp(Buffer.concat([header, block, Buffer.from([5])]));
    expect(packet?.payload).toEqual(Buffer.from([5]));
    expect(packet && findExtension(packet, 20)).toEqual(Buffer.from([1, 2, 3]));
  });

  it('takes padding off and knows padding-only probes', () => {
    const header = buildRtpHeader(fields);
    header[0] = 0xa0;
    expect(parseRtp(Buffer.concat([header, Buffer.from([7, 7, 0, 0, 3])]))?.payload).toEqual(Buffer.from([7, 7]));
    expect(parseRtp(Buffer.concat([header, Buffer.alloc(254), Buffer.from([255])]))?.payload).toHaveLength(0);
    expect(parseRtp(Buffer.concat([header, Buffer.from([9])])), 'more padding than packet').toBeUndefined();
  });

  it('refuses header-extension bombs: blocks of 64 KiB, of padding, of empty elements, longer than the packet', () => {
    const header = buildRtpHeader({ marker: false, payloadType: 96, sequenceNumber: 1, timestamp: 1, ssrc: 1 });
    header[0] = 0x90;
    const packet = (profile: number, words: number, block: Buffer) => {
      const extension = Buffer.alloc(4);
      extension.writeUInt16BE(profile, 0);
      extension.writeUInt16BE(words, 2);
      return parseRtp(Buffer.concat([header, extension, block, Buffer.of(7)]));
    };
    const most = MAX_EXTENSION_BYTES / 4;
    for (const profile of [0xbede, 0x1000, 0x100f, 0x0000]) {
      expect(packet(profile, most + 1, Buffer.alloc(4 * most + 4))).toBeUndefined();
      expect(packet(profile, 16_000, Buffer.alloc(64_000))).toBeUndefined();
      expect(packet(profile, 0xffff, Buffer.alloc(8))).toBeUndefined();
    }
    for (const [profile, fill] of [
      [0xbede, 0x00],
      [0xbede, 0x10],
      [0xbede, 0xf0],
      [0x1000, 0x00],
      [0x1000, 0x01],
    ] as const) {
      const bomb = packet(profile, most, Buffer.alloc(4 * most, fill));
      expect(bomb?.payload).toEqual(Buffer.of(7));
      expect(bomb && findExtension(bomb, 14)).toBeUndefined();
    }
  });

  it('never throws on noise', () => {
    for (let round = 0; round < 20_000; round += 1) {
      const noise = randomBytes(round % 64);
      if (noise.length > 0) noise[0] = 0x80 | ((noise[0] as number) & 0x3f);
      const packet = parseRtp(noise);
      if (packet !== undefined) findExtension(packet, 1);
    }
  });

  it('keeps the low 32 bits of any integer', () => {
    expect(low32(2 ** 40 + 5)).toBe(5);
    expect(low32(-1)).toBe(0xffff_ffff);
  });
});
