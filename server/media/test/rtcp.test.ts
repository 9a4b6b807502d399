import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { countWork } from '../../../testing/count-work.ts';
import { buildBye, buildRemb } from '../../../testing/rtcp.ts';
import * as rtcp from '../rtcp.ts';

describe('RTCP', () => {
  it('counters go on beyond 32 bits: after 4 GiB the report has the low ones', () => {
    const fields = { ssrc: 1, ntpUs: 3.9e15, rtpTimestamp: 9, packetCount: 2 ** 32 + 7, octetCount: 3 * 2 ** 32 + 5 };
    expect(rtcp.parseRtcp(rtcp.buildSenderReport(fields))[0]).toMatchObject({ packetCount: 7, octetCount: 5 });
  });

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
      buildRemb(5, 2_500_000, [77, 78]),
      buildBye([77]),
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

  it('reads no more of a large packet than a receiver needs', () => {
    const many = Buffer.concat(Array.from({ length: 5000 }, () => rtcp.buildPictureLoss(1, 2)));
    expect(rtcp.parseRtcp(many)).toHaveLength(32);
    const nack = Buffer.alloc(60_000, 0xff);
    rtcp.writeHeader(nack, 1, 205);
    const [message] = rtcp.parseRtcp(nack);
    expect(message?.kind === 'nack' && message.sequenceNumbers.length).toBe(256 * 17);
    const intra = Buffer.alloc(60_000);
    rtcp.writeHeader(intra, 4, 206);
    expect(rtcp.parseRtcp(intra)).toEqual([{ kind: 'fullIntraRequest', mediaSsrcs: Array(256).fill(0) }]);
    expect(countWork(() => rtcp.parseRtcp(many))).toBeLessThan(
      countWork(() => rtcp.parseRtcp(many.subarray(0, 12 * 32))) + 9,
    );
  });
});
