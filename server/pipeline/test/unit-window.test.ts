import { expect, it } from 'vitest';
import type { AccessUnit } from '../../media/types.ts';
import { UnitWindow } from '../unit-window.ts';

/** A window over 100 bytes and 10 units; units are named by their time. */
function open(): {
  window: UnitWindow;
  sent: number[];
  push: (time: number, bytes: number, keyframe?: boolean) => void;
} {
  const sent: number[] = [];
  const window = new UnitWindow(({ mediaTime }) => sent.push(mediaTime), { maxBytes: 100, maxUnits: 10 });
  const push = (mediaTime: number, bytes: number, keyframe = false): void =>
    window.push({ mediaTime, keyframe, data: new Uint8Array(bytes) } as AccessUnit);
  return { window, sent, push };
}

it('keeps units that arrive while the thread loads, from the last keyframe on', () => {
  const { window, sent, push } = open();
  push(0, 20, true);
  push(1, 10);
  push(2, 20, true);
  push(3, 10);
  expect([sent, window.dropped, window.waitingBytes]).toEqual([[], 2, 30]);
  window.taken(0);
  expect([sent, window.waitingBytes]).toEqual([[2, 3], 0]);
  push(4, 10);
  expect(sent).toEqual([2, 3, 4]);
});

it('waits within its bound of bytes, and leaves out the rest up to the next keyframe', () => {
  const { window, sent, push } = open();
  push(0, 40, true);
  for (let time = 1; time < 1000; time += 1) push(time, 40);
  expect([window.waitingBytes, window.dropped, window.needsKeyframe]).toEqual([80, 998, true]);
  window.taken(0);
  expect(sent).toEqual([0, 1]);
  push(1000, 10);
  expect(sent).toEqual([0, 1]);
  push(1001, 10, true);
  push(1002, 10);
  expect([sent, window.needsKeyframe, window.dropped]).toEqual([[0, 1, 1001, 1002], false, 999]);
});

it('is bounded by number, too', () => {
  const { window, push } = open();
  for (let time = 0; time < 100; time += 1) push(time, 1, time === 0);
  expect([window.waitingBytes, window.dropped]).toEqual([10, 90]);
});

it('sends no more to a thread that takes nothing than its bound, and goes on where that thread does', () => {
  const { window, sent, push } = open();
  window.taken(0);
  for (let time = 0; time < 10; time += 1) push(time, 30, time === 0);
  // The fourth makes it full; four more wait, up to the same bound.
  expect([sent, window.waitingBytes, window.dropped]).toEqual([[0, 1, 2, 3], 90, 3]);
  window.taken(2);
  expect([sent, window.waitingBytes]).toEqual([[0, 1, 2, 3, 4, 5], 30]);
  window.taken(4);
  expect([sent, window.waitingBytes]).toEqual([[0, 1, 2, 3, 4, 5, 6], 0]);
});

it('holds one unit when every one is a keyframe', () => {
  const { window, sent, push } = open();
  for (let time = 0; time < 100; time += 1) push(time, 90, true);
  expect([window.waitingBytes, window.dropped]).toEqual([90, 99]);
  window.taken(0);
  expect(sent).toEqual([99]);
});

it('forgets waiting units when the source is gone', () => {
  const { window, sent, push } = open();
  push(0, 10, true);
  window.clear();
  window.taken(0);
  expect([sent, window.dropped, window.waitingBytes]).toEqual([[], 1, 0]);
});
