import { describe, expect, it } from 'vitest';
import { FrameAssembler } from '../assembler.ts';
import { JitterBuffer } from '../jitter-buffer.ts';
import { KeyframeRequests } from '../keyframe-requests.ts';
import type { AccessUnit, DropReason } from '../types.ts';
import { packetizeVp8 } from '../vp8.ts';

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

  it('waits for a gap as long as told, then gives it up and says how many are missing', () => {
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
});

describe('FrameAssembler', () => {
  function assemble() {
    const units: AccessUnit[] = [];
    const drops: DropReason[] = [];
    let needed = 0;
    const assembler = new FrameAssembler({
      onAccessUnit: (unit) => units.push(unit),
      onDrop: (reason) => drops.push(reason),
      onKeyframeNeeded: () => (needed += 1),
    });
    const frame = (keyframe: boolean, bytes = 2500) => {
      const data = Buffer.alloc(bytes, 0x55);
      data[0] = keyframe ? 0x10 : 0x11;
      return packetizeVp8(data, 1, 1200);
    };
    const feed = (timestamp: number, payloads: readonly Buffer[], lost: Record<number, number> = {}, markers = true) =>
      payloads.forEach((payload, index) =>
        assembler.add(
          {
            packet: { payload, timestamp, marker: markers && index === payloads.length - 1 },
            codec: 'VP8',
            mediaTime: timestamp,
            receivedAtUs: timestamp + index,
            lostBefore: lost[index] ?? 0,
          },
          timestamp + 100,
        ),
      );
    return { assembler, units, drops, frame, feed, needed: () => needed };
  }

  it('ends a unit at the marker and times it by its earliest packet', () => {
    const { units, frame, feed } = assemble();
    feed(3000, frame(true));
    expect(units).toHaveLength(1);
    expect(units[0]).toMatchObject({ keyframe: true, mediaTime: 3000, receivedAtUs: 3000, assembledAtUs: 3100 });
  });

  it('ends a unit without a marker when the timestamp changes', () => {
    const { units, frame, feed } = assemble();
    feed(3000, frame(true), {}, false);
    expect(units).toHaveLength(0);
    feed(6000, frame(false), {}, false);
    expect(units.map(({ mediaTime }) => mediaTime)).toEqual([3000]);
  });

  it('drops what cannot be decoded before the first keyframe and asks for one', () => {
    const { units, drops, frame, feed, needed } = assemble();
    feed(3000, frame(false));
    expect([units.length, drops, needed()]).toEqual([0, ['awaiting-keyframe'], 1]);
    feed(6000, frame(true));
    feed(9000, frame(false));
    expect(units).toHaveLength(2);
  });

  it('drops the frame with a hole and all that refer to it, up to the keyframe', () => {
    const { units, drops, frame, feed } = assemble();
    feed(3000, frame(true));
    feed(6000, frame(false), { 1: 1 });
    feed(9000, frame(false));
    feed(12_000, frame(true));
    feed(15_000, frame(false));
    expect(drops).toEqual(['incomplete', 'awaiting-keyframe']);
    expect(units.map(({ mediaTime }) => mediaTime)).toEqual([3000, 12_000, 15_000]);
  });

  it('accepts a whole keyframe right after a loss, but not one that has lost its beginning', () => {
    const whole = assemble();
    whole.feed(3000, whole.frame(true));
    whole.feed(9000, whole.frame(true), { 0: 4 });
    expect(whole.units).toHaveLength(2);
    const cut = assemble();
    cut.feed(3000, cut.frame(true));
    cut.feed(9000, cut.frame(true).slice(1), { 0: 1 });
    expect(cut.units).toHaveLength(1);
    expect(cut.drops).toEqual(['incomplete']);
  });

  it('ignores padding probes in the middle of everything', () => {
    const { units, frame, feed } = assemble();
    feed(3000, frame(true));
    feed(3000, [Buffer.alloc(0)]);
    feed(6000, frame(false));
    expect(units).toHaveLength(2);
  });

  it('needs a keyframe when the codec changes', () => {
    const { assembler, units, drops, frame, feed } = assemble();
    feed(3000, frame(true));
    assembler.add(
      {
        packet: { payload: Buffer.from([0x41, 0x88, 1]), timestamp: 6000, marker: true },
        codec: 'H264',
        mediaTime: 6000,
        receivedAtUs: 0,
        lostBefore: 0,
      },
      0,
    );
    expect(units).toHaveLength(1);
    expect(drops).toEqual(['awaiting-keyframe']);
  });

  it('bounds a unit that never ends', () => {
    const { units, drops, feed } = assemble();
    const endless = Array.from({ length: 4000 }, (_, index) =>
      index === 0 ? (packetizeVp8(Buffer.alloc(1100), 1, 1200)[0] as Buffer) : Buffer.alloc(1200, 0x00),
    );
    feed(3000, endless);
    expect(units).toHaveLength(0);
    expect(drops).toEqual(['incomplete']);
  });
});

describe('KeyframeRequests', () => {
  it('merges requests within the interval into one at its end, unless a keyframe came', () => {
    const requests = new KeyframeRequests(500);
    expect(requests.request(0)).toBe(true);
    expect(requests.request(100 * MS)).toBe(false);
    expect(requests.request(200 * MS)).toBe(false);
    expect(requests.poll(499 * MS)).toBe(false);
    expect(requests.poll(500 * MS)).toBe(true);
    expect(requests.poll(2000 * MS)).toBe(false);
    expect(requests.request(2000 * MS)).toBe(true);
    requests.request(2100 * MS);
    requests.satisfied();
    expect(requests.poll(3000 * MS)).toBe(false);
  });
});
