import { describe, expect, it } from 'vitest';
import { countWork } from '../../../testing/count-work.ts';
import { JitterBuffer, MAX_MISSING } from '../jitter-buffer.ts';

const MS = 1000;

describe('JitterBuffer', () => {
  const buffer = () => new JitterBuffer<number>({ waitUs: 80 * MS });
  const sequences = (ordered: readonly { readonly sequence: number }[]) => ordered.map(({ sequence }) => sequence);

  it('adds no delay while packets come in order', () => {
    const jitter = buffer();
    for (let sequence = 5; sequence < 50; sequence += 1) {
      jitter.insert(sequence, sequence, sequence * MS);
      expect(sequences(jitter.drain(sequence * MS))).toEqual([sequence]);
    }
    expect(jitter.size).toBe(0);
  });

  it('puts reordered packets right and refuses duplicates', () => {
    const jitter = buffer();
    jitter.insert(1, 1, 0);
    jitter.drain(0);
    jitter.insert(3, 3, MS);
    expect(jitter.drain(MS)).toEqual([]);
    expect(jitter.insert(3, 3, MS)).toBe('duplicate');
    jitter.insert(2, 2, 2 * MS);
    expect(sequences(jitter.drain(2 * MS))).toEqual([2, 3]);
    expect(jitter.insert(2, 2, 3 * MS)).toBe('late');
  });

  it('waits for a gap as long as it should, then gives it up and says how many are missing', () => {
    const jitter = buffer();
    for (const sequence of [1, 2, 6, 7]) jitter.insert(sequence, sequence, 10 * MS);
    expect(sequences(jitter.drain(10 * MS))).toEqual([1, 2]);
    expect(jitter.drain(89 * MS)).toEqual([]);
    const [six, seven] = jitter.drain(90 * MS);
    expect([six?.sequence, six?.lostBefore]).toEqual([6, 3]);
    expect([seven?.sequence, seven?.lostBefore]).toEqual([7, 0]);
    expect(jitter.missing).toBe(0);
  });

  it('asks for missing packets soon, once a round trip, and not when the answer would be too late', () => {
    const jitter = buffer();
    jitter.insert(1, 1, 0);
    jitter.insert(4, 4, 0);
    jitter.drain(0);
    const roundTrip = 30 * MS;
    expect(jitter.takeRequests(1 * MS, roundTrip), 'reordering gets a moment').toEqual([]);
    expect(jitter.takeRequests(5 * MS, roundTrip)).toEqual([2, 3]);
    expect(jitter.takeRequests(10 * MS, roundTrip)).toEqual([]);
    jitter.insert(2, 2, 35 * MS);
    expect(jitter.takeRequests(45 * MS, roundTrip)).toEqual([3]);
    expect(jitter.takeRequests(79 * MS, roundTrip), 'only 1 ms left').toEqual([]);
  });

  it('does not storm: at most ten requests for a packet however long it waits', () => {
    const jitter = new JitterBuffer<number>({ waitUs: 10_000 * MS });
    jitter.insert(1, 1, 0);
    jitter.insert(3, 3, 0);
    let requests = 0;
    for (let nowMs = 0; nowMs < 5000; nowMs += 5) requests += jitter.takeRequests(nowMs * MS, 0).length;
    expect(requests).toBe(10);
  });

  it('is bounded: a full buffer gives up its oldest gap at once', () => {
    const jitter = new JitterBuffer<number>({ waitUs: 1e9, maxPackets: 100 });
    jitter.insert(0, 0, 0);
    jitter.drain(0);
    let out = 0;
    for (let sequence = 2; sequence < 1000; sequence += 1) {
      jitter.insert(sequence, sequence, 0);
      out += jitter.drain(0).length;
      expect(jitter.size).toBeLessThanOrEqual(101);
    }
    expect(out).toBeGreaterThan(800);
  });

  it('takes a jump of thousands for a restarted sender', () => {
    const jitter = buffer();
    jitter.insert(10, 10, 0);
    jitter.drain(0);
    expect(jitter.insert(30_000, 1, MS)).toBe('restart');
    expect(sequences(jitter.drain(MS))).toEqual([30_000]);
  });

  it('takes a gap of more than 500 packets for an outage and begins again', () => {
    const jitter = buffer();
    jitter.insert(10, 10, 0);
    jitter.drain(0);
    jitter.insert(12, 12, 0);
    expect(jitter.insert(13 + MAX_MISSING, 1, MS)).toBe('restart');
    expect(jitter.missing).toBe(0);
    expect(sequences(jitter.drain(MS))).toEqual([13 + MAX_MISSING]);
  });

  it('takes a retransmission only for a gap it waits for: one of another number neither restarts nor opens a gap', () => {
    const jitter = buffer();
    jitter.insert(1, 1, 0);
    jitter.insert(3, 3, 0);
    expect(sequences(jitter.drain(0))).toEqual([1]);
    expect([30_000, 5, 1].map((sequence) => jitter.repair(sequence, 0, MS))).toEqual(['late', 'late', 'late']);
    expect(jitter.repair(3, 3, MS)).toBe('duplicate');
    expect(jitter.missing).toBe(1);
    expect(jitter.repair(2, 2, MS)).toBe('new');
    expect(sequences(jitter.drain(MS))).toEqual([2, 3]);
  });

  it('repairs honest loss: 30 % of 500 packets/s, and a burst of 300', () => {
    const jitter = buffer();
    let restarts = 0;
    for (let sequence = 0; sequence < 5000; sequence += 1) {
      if (sequence % 10 < 3 || (sequence > 2000 && sequence < 2300)) continue;
      if (jitter.insert(sequence, sequence, sequence * 2 * MS) === 'restart') restarts += 1;
      jitter.drain(sequence * 2 * MS);
    }
    expect(restarts).toBe(0);
  });
});

describe('what a hostile sender can make JitterBuffer do', () => {
  /** Packets 1 ms apart, each further on by step(index); retransmissions are requested every 10 ms. */
  const flood = (packets: number, step: (index: number) => number) => () => {
    const jitter = new JitterBuffer<number>({ waitUs: 80 * MS });
    let sequence = 1000;
    for (let index = 0; index < packets; index += 1) {
      sequence += step(index);
      const nowUs = index * 1000;
      jitter.insert(sequence, index, nowUs);
      jitter.drain(nowUs);
      if (index % 10 === 0) jitter.takeRequests(nowUs, 0);
      expect(jitter.missing).toBeLessThanOrEqual(MAX_MISSING);
    }
  };

  it.each([
    ['jumps of 5000 and 9000', (index: number) => (index % 2 ? 5000 : 9000)],
    ['gaps of 2900', () => 2900],
    ['gaps of 499', () => 499],
    ['gaps of 100', () => 100],
    ['jumps back and forth', (index: number) => (index % 2 ? 4000 : -3900)],
  ])('%s cost a small multiple of packets in order', (_, step) => {
    const packets = 4000;
    const control = countWork(flood(packets, () => 1));
    // Gap entries: 500 at once and 1000 a second, each noted, requested, given up; 5 million entries before.
    const entries = 500 + packets;
    expect(countWork(flood(packets, step))).toBeLessThan(3 * control + 10 * entries);
  });
});
