import { expect, it } from 'vitest';
import { AudioDelay } from '../audio-delay.ts';

const at = (ms: number): { receivedAtUs: number } => ({ receivedAtUs: ms * 1000 });

it('gives every packet back exactly one delay after its arrival, in order', () => {
  const line = new AudioDelay<{ receivedAtUs: number }>();
  line.setDelay(100);
  line.push(at(0));
  line.push(at(20));
  expect(line.nextDueAtUs).toBe(100_000);
  expect(line.take(99_999)).toEqual([]);
  expect(line.take(100_000)).toEqual([at(0)]);
  expect(line.take(500_000)).toEqual([at(20)]);
  expect(line.nextDueAtUs).toBeUndefined();
});

it('steps for a new model and never lets a packet overtake', () => {
  const line = new AudioDelay<{ receivedAtUs: number }>();
  line.setDelay(500);
  line.push(at(0));
  line.setDelay(50);
  line.push(at(20));
  expect(line.take(499_000)).toEqual([]);
  expect(line.take(500_000)).toEqual([at(0), at(20)]);
});

it('slews a small change by at most 5 ms a second', () => {
  const line = new AudioDelay<{ receivedAtUs: number }>();
  line.setDelay(100);
  line.push(at(0));
  line.setDelay(120);
  line.push(at(1000));
  expect(line.delayMs).toBeCloseTo(105);
  for (let ms = 1020; ms <= 10_000; ms += 20) line.push(at(ms));
  expect(line.delayMs).toBe(120);
});

it('holds at most 1600 packets of a flood: the oldest leave early, in order', () => {
  const line = new AudioDelay<{ receivedAtUs: number }>();
  line.setDelay(2000);
  for (let ms = 0; ms < 1600; ms += 1) line.push(at(ms));
  expect(line.take(1600_000)).toEqual([]);
  for (let ms = 1600; ms < 1610; ms += 1) line.push(at(ms));
  expect(line.nextDueAtUs).toBe(0);
  expect(line.take(1610_000)).toEqual(Array.from({ length: 10 }, (_, ms) => at(ms)));
  expect(line.nextDueAtUs).toBe(2_010_000);
});
