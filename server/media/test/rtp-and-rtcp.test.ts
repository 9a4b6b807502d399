import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import * as rtcp from '../rtcp.ts';
import { buildRtpHeader, findExtension, low32, parseRtp } from '../rtp.ts';

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

describe('RTCP', () => {
  it('reads a compound of everything it writes', () => {
    const block = {
      ssrc: 77,
      fractionLost: 0.25,
      packetsLost: -3,
      highestSequence: 70_000,
      jitter: 12,
      lastReport: 0x12345678,
      delaySinceReport: 65_536,
    };
    const compound = Buffer.concat([
      rtcp.buildSenderReport({ ssrc: 1, ntpUs: 3.9e15 + 250_000, rtpTimestamp: 9, packetCount: 2, octetCount: 3 }),
      rtcp.buildSourceDescription(1, 'a-name'),
      rtcp.buildReceiverReport(5, [block]),
      rtcp.buildNack(5, 77, [65_534, 65_535, 0, 1, 40]),
      rtcp.buildPictureLoss(5, 77),
      rtcp.buildRemb(5, 2_500_000, [77, 78]),
      rtcp.buildBye([77]),
    ]);
    const messages = rtcp.parseRtcp(compound);
    expect(messages.map(({ kind }) => kind)).toEqual([
      'senderReport',
      'receiverReport',
      'nack',
      'pictureLoss',
      'remb',
      'bye',
    ]);
    expect(messages[0]).toMatchObject({ ssrc: 1, rtpTimestamp: 9, packetCount: 2, octetCount: 3 });
    expect((messages[0] as { ntpUs: number }).ntpUs).toBeCloseTo(3.9e15 + 250_000, -1);
    expect(messages[1]).toMatchObject({ reports: [block] });
    expect(messages[2]).toMatchObject({ mediaSsrc: 77, sequenceNumbers: [65_534, 65_535, 0, 1, 40] });
    expect(messages[4]).toMatchObject({ ssrcs: [77, 78] });
    expect((messages[4] as { bitrateBps: number }).bitrateBps / 2_500_000).toBeCloseTo(1, 4);
  });

  it('reports any time: a publisher that lies about its clocks must not stop its viewers’ reports', () => {
    for (const seconds of [-1, -(2 ** 32), 2 ** 32, 2 ** 33 + 5, 9e9]) {
      const ntpUs = seconds * 1e6 + 250_000;
      const [report] = rtcp.parseRtcp(
        rtcp.buildSenderReport({ ssrc: 1, ntpUs, rtpTimestamp: 9, packetCount: 2, octetCount: 3 }),
      );
      const expected = (((seconds % 2 ** 32) + 2 ** 32) % 2 ** 32) * 1e6 + 250_000;
      expect((report as { ntpUs: number }).ntpUs, `${seconds} s`).toBeCloseTo(expected, -1);
    }
  });

  it('reads a FIR (RFC 5104 section 4.3.1)', () => {
    const packet = Buffer.alloc(20);
    rtcp.writeHeader(packet, 4, 206);
    packet.writeUInt32BE(99, 12);
    expect(rtcp.parseRtcp(packet)).toEqual([{ kind: 'fullIntraRequest', mediaSsrcs: [99] }]);
  });

  it('stops at a wrong length and never throws on noise', () => {
    const good = rtcp.buildPictureLoss(1, 2);
    const cut = Buffer.concat([good, rtcp.buildPictureLoss(1, 3).subarray(0, 8)]);
    expect(rtcp.parseRtcp(cut)).toHaveLength(1);
    for (let round = 0; round < 20_000; round += 1) {
      const noise = randomBytes(4 + (round % 60));
      noise[0] = 0x80 | ((noise[0] as number) & 0x1f);
      noise[1] = 200 + (round % 8);
      noise.writeUInt16BE(round % 16, 2);
      rtcp.parseRtcp(noise);
    }
  });
});
