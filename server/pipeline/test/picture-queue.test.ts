import { expect, it } from 'vitest';
import { makePicture } from '../../../testing/pictures.ts';
import type { DropReason } from '../../media/types.ts';
import { PictureQueue } from '../picture-queue.ts';
import type { Picture } from '../../media/picture.ts';

function at(number: number, assembledAtUs: number): Picture {
  const picture = makePicture(16, 16, number);
  picture.trace.assembledAtUs = assembledAtUs;
  return picture;
}

function queueOf(capacity: number, maxAgeUs: number): { queue: PictureQueue; drops: [number, DropReason][] } {
  const drops: [number, DropReason][] = [];
  const queue = new PictureQueue(capacity, maxAgeUs, (picture, reason) => drops.push([picture.mediaTime, reason]));
  return { queue, drops };
}

it('drops the oldest when it is full and keeps the order of the rest', () => {
  const { queue, drops } = queueOf(2, 1e6);
  [1, 2, 3, 4].forEach((number) => queue.push(at(number, 0)));
  expect(drops).toEqual([
    [1, 'queue-full'],
    [2, 'queue-full'],
  ]);
  expect([queue.take(0)?.mediaTime, queue.take(0)?.mediaTime, queue.take(0)]).toEqual([3, 4, undefined]);
});

it('skips pictures that waited longer than the budget and takes the first that did not', () => {
  const { queue, drops } = queueOf(4, 100_000);
  queue.push(at(1, 0));
  queue.push(at(2, 50_000));
  queue.push(at(3, 100_000));
  expect(queue.take(150_001)?.mediaTime).toBe(3);
  expect(drops).toEqual([
    [1, 'stale'],
    [2, 'stale'],
  ]);
});

it('takes a picture back to the front and empties with a reason', () => {
  const { queue, drops } = queueOf(3, 1e6);
  queue.push(at(1, 0));
  queue.push(at(2, 0));
  const first = queue.take(0) as Picture;
  queue.putBack(first);
  expect(queue.take(0)?.mediaTime).toBe(1);
  queue.clear('stale');
  expect(drops).toEqual([[2, 'stale']]);
  expect(queue.length).toBe(0);
});

it('does not take waiting for presentation order inside the decoder for a backlog', () => {
  const { queue, drops } = queueOf(4, 100_000);
  const held = at(1, 0);
  held.trace.heldUs = 133_000;
  queue.push(held);
  queue.push(at(2, 66_000));
  expect(queue.take(150_000)?.mediaTime, 'before: dropped as stale').toBe(1);
  expect(queue.take(150_000)?.mediaTime).toBe(2);
  expect(drops).toEqual([]);
});
