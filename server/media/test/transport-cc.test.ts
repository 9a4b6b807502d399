import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { countWork } from '../../../testing/count-work.ts';
import { parseTransportFeedback } from '../../../testing/rtcp.ts';
import { parseRtcp } from '../rtcp.ts';
import { TransportFeedbackBuilder } from '../transport-cc.ts';

const SENDER = 11;
const MEDIA = 22;

/** Reads packets back as sequence -> arrival, the way a sender would, with 16 bit numbers and the 24 bit reference. */
function readBack(packets: readonly Buffer[]): Map<number, number> {
  const arrivals = new Map<number, number>();
  for (const packet of packets) {
    expect(packet.length % 4, 'RTCP packets are whole words').toBe(0);
    expect((packet.readUInt16BE(2) + 1) * 4, 'and say so').toBe(packet.length);
    expect(parseRtcp(packet)[0]).toMatchObject({ kind: 'transportFeedback' });
    const feedback = parseTransportFeedback(packet);
    if (feedback === undefined) throw new Error(`malformed feedback: ${packet.toString('hex')}`);
    feedback.arrivalsUs.forEach((arrivalUs, index) => {
      if (arrivalUs !== undefined) arrivals.set((feedback.baseSequence + index) & 0xffff, arrivalUs);
    });
  }
  return arrivals;
}

/** Feeds arrivals and compares: each within the 250 us resolution, the reference's wrap taken out. */
function roundTrip(arrivals: readonly (readonly [number, number])[]): Buffer[] {
  const builder = new TransportFeedbackBuilder();
  for (const [sequence, atUs] of arrivals) builder.onPacket(sequence & 0xffff, atUs);
  const packets = builder.build(SENDER, MEDIA);
  const read = readBack(packets);
  expect(read.size).toBe(new Set(arrivals.map(([sequence]) => sequence & 0xffff)).size);
  const wrapUs = 2 ** 24 * 64_000;
  for (const [sequence, atUs] of arrivals) {
    const readUs = read.get(sequence & 0xffff) ?? NaN;
    expect(Math.abs(readUs - (atUs % wrapUs))).toBeLessThanOrEqual(125.5);
  }
  expect(builder.pending).toBe(0);
  return packets;
}

describe('TransportFeedbackBuilder', () => {
  it('reports a steady stream as one run of small deltas', () => {
    const [packet] = roundTrip(Array.from({ length: 30 }, (_, n) => [n + 100, 7_000_123 + n * 1000] as const));
    // Header 20, one chunk (run length), 29 or 30 deltas of one byte, padding.
    expect(packet?.length).toBeLessThanOrEqual(20 + 4 + 31 + 3);
  });

  it('carries rounding on: 250 us units do not drift over hundreds of packets', () => {
    roundTrip(Array.from({ length: 390 }, (_, n) => [n, 123_456_789 + n * 333.3] as const));
  });

  it('mixes losses, large gaps in time, reordering and a wrap of the sequence', () => {
    roundTrip([
      [65_530, 1_000_000],
      [65_531, 1_000_900],
      [65_533, 1_001_100],
      [65_532, 1_090_000], // reordered: a negative delta follows
      [65_535, 1_002_000],
      [2, 1_400_000], // 300 ms: a large delta
      [3, 1_400_100],
      [40, 1_400_200],
    ]);
  });

  it('pads every length to whole words with the padding bit', () => {
    for (let count = 1; count <= 12; count += 1) {
      const [packet] = roundTrip(Array.from({ length: count }, (_, n) => [n * 2, 64_000_000 + n * 5000] as const));
      const padded = ((packet?.[0] ?? 0) & 0x20) !== 0;
      if (padded) expect(packet?.at(-1)).toBeGreaterThan(0);
    }
  });

  it('survives the wrap of the 24 bit reference time', () => {
    const wrapUs = 2 ** 24 * 64_000;
    roundTrip([
      [1, wrapUs - 30_000],
      [2, wrapUs - 20_000],
    ]);
    roundTrip([
      [3, wrapUs + 10_000],
      [4, wrapUs + 20_000],
    ]);
  });

  it('reports packets lost between two feedbacks, and corrects that when they arrive late', () => {
    const builder = new TransportFeedbackBuilder();
    builder.onPacket(10, 1_000_000);
    const first = parseTransportFeedback(builder.build(SENDER, MEDIA)[0] as Buffer);
    expect(first?.feedbackCount).toBe(0);
    builder.onPacket(13, 1_050_000);
    const second = parseTransportFeedback(builder.build(SENDER, MEDIA)[0] as Buffer);
    expect(second?.baseSequence).toBe(11);
    expect(second?.arrivalsUs.map((arrival) => arrival !== undefined)).toEqual([false, false, true]);
    expect(second?.feedbackCount).toBe(1);
    builder.onPacket(12, 1_060_000);
    const third = parseTransportFeedback(builder.build(SENDER, MEDIA)[0] as Buffer);
    expect(third?.baseSequence).toBe(12);
    expect(third?.arrivalsUs.map((arrival) => arrival !== undefined)).toEqual([true]);
    // Late 11 together with new 15: 12 and 13 were received and must not be called lost now.
    builder.onPacket(15, 1_070_000);
    builder.onPacket(11, 1_071_000);
    const [late, next] = builder.build(SENDER, MEDIA).map((packet) => parseTransportFeedback(packet));
    expect([late?.baseSequence, late?.arrivalsUs.length]).toEqual([11, 1]);
    expect([next?.baseSequence, next?.arrivalsUs.map((arrival) => arrival !== undefined)]).toEqual([14, [false, true]]);
  });

  it('splits what does not fit: silence of more than 8 s, and long bursts', () => {
    const packets = roundTrip([
      [1, 1_000_000],
      [2, 30_000_000],
    ]);
    expect(packets).toHaveLength(2);
    expect(roundTrip(Array.from({ length: 1500 }, (_, n) => [n, n * 100] as const)).length).toBeGreaterThan(2);
  });

  it('agrees with itself on random traffic', () => {
    for (let round = 0; round < 200; round += 1) {
      const seed = randomBytes(400);
      let sequence = round * 331;
      let atUs = 5_000_000 + round * 77_777;
      const arrivals: [number, number][] = [];
      for (let index = 0; index < 100; index += 1) {
        sequence += 1 + ((seed[index] ?? 0) % 5 === 0 ? (seed[index + 100] ?? 0) % 30 : 0);
        atUs += (seed[index + 200] ?? 0) % 7 === 0 ? (seed[index + 300] ?? 0) * 1500 : 300;
        arrivals.push([sequence, atUs]);
      }
      roundTrip(arrivals);
    }
  });
});

describe('what a hostile sender can make TransportFeedbackBuilder do', () => {
  /** Packets whose sequence numbers are `step` apart, 0.1 ms from each other, with feedback after every `perBuild`. */
  const flood = (packets: number, perBuild: number, step: number) => {
    let sent = 0;
    const work = countWork(() => {
      const builder = new TransportFeedbackBuilder();
      for (let index = 0; index < packets; index += 1) {
        builder.onPacket((index * step) & 0xffff, 1_000_000 + index * 100);
        if (index % perBuild === perBuild - 1) sent = Math.max(sent, builder.build(SENDER, MEDIA).length);
      }
      expect(builder.pending).toBe(0);
    });
    return { perBuild: work / (packets / perBuild), sent };
  };

  it.each([1, 2, 401, 8000, 8193, 20_000, 32_767])('steps of %i cost a bounded number of statuses a build', (step) => {
    for (const perBuild of [50, 125, 500, 2000]) {
      const { perBuild: work, sent } = flood(4 * perBuild, perBuild, step);
      expect(sent).toBeLessThanOrEqual(16);
      // Sorted once; at most 16 packets of 800 statuses, each written and encoded. A million for 125 packets, step 8000, before.
      expect(work, `${perBuild} a build`).toBeLessThan(60 * perBuild + 16 * 800 * 4);
    }
  });

  it('reports the last 400 losses of an outage, and the packets after it', () => {
    const builder = new TransportFeedbackBuilder();
    builder.onPacket(1, 1_000_000);
    builder.build(SENDER, MEDIA);
    builder.onPacket(3000, 2_000_000);
    builder.onPacket(3001, 2_001_000);
    const read = builder.build(SENDER, MEDIA).map((packet) => parseTransportFeedback(packet));
    expect(read.map((feedback) => [feedback?.baseSequence, feedback?.arrivalsUs.length])).toEqual([
      [2600, 401],
      [3001, 1],
    ]);
  });

  it('holds at most 4096 arrivals and counts the others', () => {
    const builder = new TransportFeedbackBuilder();
    for (let index = 0; index < 10_000; index += 1) builder.onPacket(index, index);
    expect(builder.pending).toBe(4096);
    expect(builder.dropped).toBe(10_000 - 4096);
    expect(builder.build(SENDER, MEDIA).length).toBeLessThanOrEqual(16);
  });
});
