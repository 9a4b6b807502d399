import { describe, expect, it } from 'vitest';
import { BurstSpreader } from '../burst-spreader.ts';

const MS = 1000;

describe('BurstSpreader', () => {
  const packets = (count: number) => Array.from({ length: count }, (_, n) => n);

  it('lets ordinary frames pass untouched', () => {
    const spreader = new BurstSpreader<number>({ burstPackets: 20, spreadUs: 10 * MS });
    const frame = packets(20);
    expect(spreader.push(frame, 0)).toBe(frame);
    expect(spreader.pending).toBe(0);
  });

  it('spreads a keyframe evenly, in order, within its time', () => {
    const spreader = new BurstSpreader<number>({ burstPackets: 20, spreadUs: 10 * MS });
    const out = [...spreader.push(packets(120), 0)];
    expect(out).toHaveLength(20);
    for (let nowUs = 2 * MS; nowUs <= 10 * MS; nowUs += 2 * MS) {
      const due = spreader.take(nowUs);
      expect(due.length).toBeLessThanOrEqual(21);
      out.push(...due);
    }
    expect(out).toEqual(packets(120));
    expect(spreader.pending).toBe(0);
  });

  it('keeps the next frame behind the keyframe that is still leaving', () => {
    const spreader = new BurstSpreader<number>({ burstPackets: 2, spreadUs: 10 * MS });
    const out = [...spreader.push([1, 2, 3, 4], 0)];
    out.push(...spreader.push([5], 1 * MS));
    while (spreader.pending > 0) out.push(...spreader.take(100 * MS));
    expect(out).toEqual([1, 2, 3, 4, 5]);
  });

  it('is bounded, and lets nothing behind in its queue when frames never pause', () => {
    const spreader = new BurstSpreader<number>({ burstPackets: 20, spreadUs: 15 * MS });
    let [sent, got, next] = [0, 0, 0];
    // 700 frames of 60 packets a second: a packet is always pending.
    for (let nowUs = 0; nowUs < 2000 * MS; nowUs += 1430) {
      const frame = Array.from({ length: 60 }, () => sent++);
      for (const packet of [...spreader.push(frame, nowUs), ...spreader.take(nowUs + 700)]) {
        expect(packet).toBe(next);
        next += 1;
        got += 1;
      }
      expect(spreader.pending).toBeLessThanOrEqual(4096);
    }
    expect(sent - got).toBe(spreader.pending);
    const flood = Array.from({ length: 20_000 }, () => sent++);
    expect(spreader.push(flood, 2000 * MS).length).toBeGreaterThanOrEqual(20_000 - 4096);
    expect(spreader.pending).toBe(4096);
  });
});
