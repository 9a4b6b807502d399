import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Packet } from 'node-av/lib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SegmentStore, framesInSegments } from '../segment-store.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(path.join(tmpdir(), 'segment-store-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const HEAD = Buffer.alloc(32, 7);
const FRAMES = 250;

async function addSegment(store: SegmentStore, from = 0): Promise<void> {
  for (let index = from; index < from + FRAMES; index += 1) {
    const packet = new Packet();
    packet.alloc();
    packet.data = Buffer.alloc(1 + (index % 40), index);
    Object.assign(packet, { pts: BigInt(index), dts: BigInt(index - 2), duration: 3n, isKeyframe: index === from });
    await store.add(packet);
    packet.free();
  }
  await store.endSegment();
}

async function openStore(freeBytes?: () => number): Promise<SegmentStore> {
  const store = await SegmentStore.open(folder, freeBytes);
  store.useEncoder(HEAD, 'x.mp4');
  return store;
}

it('gives back what was kept, in order, with times and flags; an unfinished segment is nothing', async () => {
  const first = await openStore();
  await addSegment(first);
  await addSegment(first, FRAMES);
  const packet = new Packet();
  packet.alloc();
  packet.data = Buffer.from('of the third one');
  await first.add(packet);
  packet.free();
  await first.close();
  expect(readdirSync(folder).sort()).toEqual(['segment-000001-250', 'segment-000002-250']);
  expect(framesInSegments(folder)).toBe(2 * FRAMES);
  const second = await openStore();
  expect(second.keptFrames).toBe(2 * FRAMES);
  let index = 0;
  for await (const { pts, dts, duration, flags, data } of second.packets()) {
    expect([pts, dts, duration, flags & 1]).toEqual([
      BigInt(index),
      BigInt(index - 2),
      3n,
      Number(index % FRAMES === 0),
    ]);
    expect(data.equals(Buffer.alloc(1 + (index % 40), index))).toBe(true);
    index += 1;
  }
  expect(index).toBe(2 * FRAMES);
});

it('takes nothing from another encoder, and nothing that is damaged', async () => {
  await addSegment(await openStore());
  const store = await SegmentStore.open(folder);
  expect(() => store.useEncoder(Buffer.alloc(32, 8), 'x.mp4')).toThrow(
    /frames kept of x\.mp4 were encoded in another way/,
  );
  writeFileSync(path.join(folder, 'segment-000001-250'), Buffer.alloc(5000, 255));
  expect((await SegmentStore.open(folder)).keptFrames).toBe(0);
  expect(readdirSync(folder)).toEqual([]);
});

it('gives its room to the result when the disk fills, and says so', async () => {
  let free = 2 ** 40;
  const store = await openStore(() => free);
  await addSegment(store);
  expect(framesInSegments(folder)).toBe(FRAMES);
  free = 2 ** 20;
  await addSegment(store, FRAMES);
  expect(readdirSync(folder)).toEqual([]);
  await addSegment(store, 2 * FRAMES);
  expect(readdirSync(folder)).toEqual([]);
  expect(store.notices).toEqual(['Finished frames were not kept for --resume: there is too little room for it.']);
});

it('of a model that remembers a segment counts with its memory only; the memory of the last two stays', async () => {
  const first = await openStore();
  for (let segment = 0; segment < 4; segment += 1) {
    first.remember(Buffer.alloc(3000, segment));
    await addSegment(first, segment * FRAMES);
  }
  const memories = (): string[] => readdirSync(folder).filter((name) => name.startsWith('memory'));
  expect(memories()).toEqual(['memory-000003', 'memory-000004']);
  const whole = await openStore();
  await whole.needMemory();
  expect(whole.keptFrames).toBe(4 * FRAMES);
  expect(whole.memory).toEqual(Buffer.alloc(3000, 3));
  writeFileSync(path.join(folder, 'memory-000004'), Buffer.alloc(3004, 3));
  const damaged = await openStore();
  await damaged.needMemory();
  expect(damaged.keptFrames).toBe(3 * FRAMES);
  expect(damaged.memory).toEqual(Buffer.alloc(3000, 2));
  rmSync(path.join(folder, 'memory-000003'));
  const none = await openStore();
  await none.needMemory();
  expect([none.keptFrames, none.memory]).toEqual([0, undefined]);
});
