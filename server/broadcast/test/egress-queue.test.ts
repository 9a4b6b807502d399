import { expect, it } from 'vitest';
import { traceAt } from '../../media/steps.ts';
import type { EncodedFrame } from '../../media/types.ts';
import { EgressQueue } from '../egress-queue.ts';

const frame = (mediaTime: number, bytes = 10): EncodedFrame => ({
  codec: 'H264',
  rendition: 'full',
  data: new Uint8Array(bytes),
  mediaTime,
  keyframe: false,
  width: 16,
  height: 16,
  trace: traceAt(0),
});

it('gives frames in order, at once when a reader waits', async () => {
  const queue = new EgressQueue();
  const first = queue.next();
  expect(queue.push(frame(1))).toBe(true);
  queue.push(frame(2));
  queue.push(frame(3));
  expect([(await first)?.mediaTime, (await queue.next())?.mediaTime, (await queue.next())?.mediaTime]).toEqual([
    1, 2, 3,
  ]);
});

it('refuses frames beyond its bound, and takes more when one was read', async () => {
  const queue = new EgressQueue({ maxFrames: 2 });
  expect([1, 2, 3].map((time) => queue.push(frame(time)))).toEqual([true, true, false]);
  await queue.next();
  expect(queue.push(frame(4))).toBe(true);
  expect(queue.frames).toBe(2);
});

it('refuses frames beyond its bound of bytes', async () => {
  const queue = new EgressQueue({ maxBytes: 100 });
  expect([60, 60, 40].map((bytes) => queue.push(frame(bytes, bytes)))).toEqual([true, false, true]);
  await queue.next();
  expect(queue.push(frame(4, 60))).toBe(true);
});

it('ends: takes no more, gives what it has, then undefined, to a reader that waits as well', async () => {
  const queue = new EgressQueue();
  queue.push(frame(1));
  queue.close();
  queue.close();
  expect(queue.push(frame(2))).toBe(false);
  expect((await queue.next())?.mediaTime).toBe(1);
  expect(await queue.next()).toBeUndefined();
  const waiting = new EgressQueue();
  const next = waiting.next();
  waiting.close();
  expect(await next).toBeUndefined();
});
