import { expect, it } from 'vitest';
import { leastWaitShift, type ChunkPhase } from '../chunk-phase.ts';
import { EngineSlots, EngineShare, type EngineSlot } from '../engine-share.ts';

const PERIOD_US = 266_667;
const FRAME_US = PERIOD_US / 8;
const phase = (atUs: number, workUs = 115_000, periodUs = PERIOD_US): ChunkPhase => ({ atUs, periodUs, workUs });

function pair(): { slots: EngineSlots; a: EngineShare; b: EngineShare; slotA: EngineSlot } {
  const slots = new EngineSlots();
  const [slotA, slotB] = [slots.take(), slots.take()];
  if (slotA === undefined || slotB === undefined) throw new Error('no slot');
  return { slots, a: new EngineShare(slotA), b: new EngineShare(slotB), slotA };
}

it('adds the loads of all pipelines that live', () => {
  const { a, b } = pair();
  a.report(0.5, 0, 1_000_000);
  b.report(0.4, 2, 1_000_000);
  expect([a.othersLoad(1_500_000), b.othersLoad(1_500_000)]).toEqual([0.4, 0.5]);
  expect(a.othersRungs(1_500_000)).toEqual([2]);
  // b has said nothing for four seconds.
  expect(a.othersLoad(5_100_000)).toBe(0);
});

it('reports when another ladder moved, and forgets a pipeline with its slot', () => {
  const { slots, a, b, slotA } = pair();
  a.report(0.5, 0, 1_000_000);
  expect(b.othersSteppedAtUs(1_000_000)).toBe(-Infinity);
  a.stepped(1, 1_000_000);
  expect(b.othersSteppedAtUs(1_000_000)).toBe(1_000_000);
  slots.release(slotA);
  expect(b.othersSteppedAtUs(1_000_000)).toBe(-Infinity);
  expect(slots.take()).toMatchObject({ index: 0 });
});

it('has slots for many, and says when there is none', () => {
  const slots = new EngineSlots();
  const taken = Array.from({ length: 70 }, () => slots.take());
  expect(taken.filter((slot) => slot !== undefined)).toHaveLength(64);
});

it('shifts a stream just as far as it takes not to meet the other', () => {
  // Together: four frames later the other's 115 ms are over, and its next chunk is 133 ms away.
  expect(leastWaitShift(phase(0), FRAME_US, 7, [phase(0)])).toBe(4);
  // Already apart.
  expect(leastWaitShift(phase(130_000), FRAME_US, 7, [phase(0)])).toBe(0);
  // Many periods later it is the same.
  expect(leastWaitShift(phase(1000 * PERIOD_US), FRAME_US, 7, [phase(3)])).toBe(4);
  // Just before the other: one period on.
  expect(leastWaitShift(phase(-FRAME_US), FRAME_US, 7, [phase(0)])).toBe(5);
});

it('knows nothing of the work yet: half a period away; alone or with another frame rate: no shift', () => {
  expect(leastWaitShift(phase(0, 0), FRAME_US, 7, [phase(0, 0)])).toBe(4);
  expect(leastWaitShift(phase(0), FRAME_US, 7, [])).toBe(0);
  expect(leastWaitShift(phase(0), FRAME_US, 7, [phase(0, 115_000, 2 * PERIOD_US)])).toBe(0);
});

it('finds the best place between two others', () => {
  const others = [phase(0, 60_000), phase(90_000, 60_000)];
  const shift = leastWaitShift(phase(0, 60_000), FRAME_US, 7, others);
  const atUs = shift * FRAME_US;
  expect(atUs).toBeGreaterThanOrEqual(150_000);
  expect(atUs).toBeLessThanOrEqual(PERIOD_US - 60_000);
});
