import { describe, expect, it } from 'vitest';
import { RateMeter } from '../rate-meter.ts';
import { ReceiveStream } from '../receive-stream.ts';

const MS = 1000;

describe('ReceiveStream', () => {
  it('reports loss since the last report and in total (RFC 3550 appendix A.3), over the sequence wrap', () => {
    const stream = new ReceiveStream(1, 90_000);
    let sequence = 65_500;
    const send = (count: number, lostEvery = 0) => {
      for (let packet = 0; packet < count; packet += 1) {
        sequence += 1;
        if (lostEvery === 0 || packet % lostEvery !== 0) stream.onPacket(sequence & 0xffff, sequence * 3000, 0);
      }
    };
    send(100);
    expect(stream.report(0)).toMatchObject({ fractionLost: 0, packetsLost: 0, highestSequence: 65_600 });
    send(100, 4);
    expect(stream.report(0)).toMatchObject({ fractionLost: 0.25, packetsLost: 25 });
    send(100);
    expect(stream.report(0)).toMatchObject({ fractionLost: 0, packetsLost: 25 });
  });

  it('counts a repaired packet as received and a duplicate not at all', () => {
    const stream = new ReceiveStream(1, 90_000);
    stream.onPacket(1, 0, 0);
    stream.onPacket(3, 0, 0);
    expect(stream.lost).toBe(1);
    expect(stream.onRepaired(2)).toBe(2);
    expect(stream.lost).toBe(0);
    stream.onRepaired(2);
    stream.onDuplicate();
    expect(stream.received).toBe(3);
  });

  it('measures interarrival jitter in timestamp units (section 6.4.1)', () => {
    const steady = new ReceiveStream(1, 90_000);
    const shaky = new ReceiveStream(2, 90_000);
    for (let packet = 0; packet < 300; packet += 1) {
      steady.onPacket(packet, packet * 900, packet * 10 * MS);
      shaky.onPacket(packet, packet * 900, packet * 10 * MS + (packet % 2) * 4 * MS);
    }
    expect(steady.report(0).jitter).toBeLessThan(1);
    // Transit differs by 4 ms from packet to packet: 360 ticks.
    expect(shaky.report(0).jitter).toBeGreaterThan(330);
    expect(shaky.report(0).jitter).toBeLessThan(361);
  });

  it('reports the time since the sender’s report, for the sender’s round trip time', () => {
    const stream = new ReceiveStream(1, 90_000);
    expect(stream.report(0)).toMatchObject({ lastReport: 0, delaySinceReport: 0 });
    stream.onSenderReport(0xabcd_1234, 1_000 * MS);
    expect(stream.report(1_500 * MS)).toMatchObject({ lastReport: 0xabcd_1234, delaySinceReport: 32_768 });
  });

  it('has its own identity', () => {
    expect(new ReceiveStream(5, 90_000).id).not.toBe(new ReceiveStream(5, 90_000).id);
  });
});

describe('RateMeter', () => {
  it('sums the last second and forgets it', () => {
    const meter = new RateMeter();
    for (let nowMs = 0; nowMs < 3000; nowMs += 10) meter.add(100, nowMs * MS);
    expect(meter.perSecond(3000 * MS)).toBe(10_000);
    expect(meter.perSecond(3500 * MS)).toBe(5_000);
    expect(meter.perSecond(4100 * MS)).toBe(0);
  });
});
