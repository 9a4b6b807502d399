import { afterEach, expect, it, vi } from 'vitest';
import { AppError } from '../../errors.ts';
import type { UpscalerStream } from '../../upscalers/upscaler.ts';
import type { Size } from '../growth.ts';
import { StreamSlot } from '../stream-slot.ts';

/** A stream that only knows whether it is open. */
class FakeStream implements UpscalerStream {
  readonly pending = 0;
  readonly ready = true;
  closed = false;
  readonly outputWidth: number;
  readonly outputHeight: number;
  constructor({ width, height }: Size) {
    this.outputWidth = width * 2;
    this.outputHeight = height * 2;
  }
  push(): 'accepted' {
    return 'accepted';
  }
  setRung(): void {
    // One rung.
  }
  async flush(): Promise<void> {
    // Nothing inside.
  }
  async close(): Promise<void> {
    this.closed = true;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const clock = vi.spyOn(process.hrtime, 'bigint');
let nowUs = 1_000_000;
clock.mockImplementation(() => BigInt(Math.round(nowUs)) * 1000n);
afterEach(() => {
  nowUs = 1_000_000;
});

function bench(growAfterMs = 3000) {
  const streams: FakeStream[] = [];
  const errors: AppError[] = [];
  const opened: boolean[] = [];
  const failure: { error?: AppError } = {};
  let gate: Promise<void> = Promise.resolve();
  const slot = new StreamSlot({
    growAfterMs,
    open: async (size) => {
      await gate;
      if (failure.error !== undefined) throw failure.error;
      const stream = new FakeStream(size);
      streams.push(stream);
      return stream;
    },
    onOpen: (_, newFormat) => opened.push(newFormat),
    onLeave: () => undefined,
    onError: (error) => errors.push(error),
  });
  return { slot, streams, errors, opened, failure, hold: (until: Promise<void>): void => void (gate = until) };
}

const WIDE = { width: 64, height: 32 };
const TALL = { width: 32, height: 64 };

it('opens at most two streams a second for a source that changes its aspect with every third frame', async () => {
  const { slot, streams } = bench();
  for (let frame = 0; frame < 1000; frame += 1) {
    nowUs += 5_000;
    slot.follow(frame % 6 < 3 ? WIDE : TALL, true);
    await turn();
  }
  // 5 s at 200 frames/s: 333 changes.
  expect(streams.length).toBeLessThanOrEqual(12);
  expect(streams.filter((stream) => !stream.closed).length).toBeLessThanOrEqual(1);
  // Once it settles, a picture gets its stream within half a second.
  nowUs += 500_000;
  slot.follow(TALL, true);
  await turn();
  expect(slot.stream).toMatchObject({ outputWidth: 64, outputHeight: 128 });
});

it('closes a stream that arrives when its aspect is no longer wanted, and opens the wanted one after it', async () => {
  const { slot, streams, hold } = bench();
  let arrive = (): void => undefined;
  hold(new Promise((resolve) => (arrive = resolve)));
  slot.follow(WIDE, true);
  slot.follow(TALL, true);
  arrive();
  await turn();
  slot.follow(TALL, true);
  await turn();
  expect(streams.map(({ closed, outputWidth }) => [outputWidth, closed])).toEqual([
    [128, true],
    [64, false],
  ]);
});

it('finds out the format without a viewer, releases the stream, and keeps what it knows', async () => {
  const { slot, streams, opened } = bench();
  slot.follow(WIDE, false);
  await turn();
  expect(slot.output).toEqual({ width: 128, height: 64 });
  void slot.release()?.close();
  slot.follow(WIDE, false);
  await turn();
  expect(streams).toHaveLength(1);
  slot.follow(WIDE, true);
  await turn();
  expect([streams.length, opened]).toEqual([2, [true, false]]);
});

it('tries a failed stream again after a second, and never again once closed', async () => {
  const { slot, streams, errors, failure } = bench();
  failure.error = new AppError('engine.memory', 'no room');
  for (let frame = 0; frame < 60; frame += 1) {
    nowUs += 33_000;
    slot.follow(WIDE, true);
    await turn();
  }
  expect(errors).toHaveLength(2);
  delete failure.error;
  nowUs += 1_000_000;
  slot.follow(WIDE, true);
  await turn();
  expect(streams).toHaveLength(1);
  await slot.close();
  await slot.close();
  slot.follow(WIDE, true);
  await turn();
  expect([streams.length, streams[0]?.closed, slot.stream]).toEqual([1, true, undefined]);
});

it('keeps the smaller stream when the larger cannot be opened, and when the aspect changes while it is', async () => {
  const { slot, streams, errors, failure } = bench(100);
  const large = { width: 128, height: 64 };
  slot.follow(WIDE, true);
  await turn();
  failure.error = new AppError('engine.memory', 'no room');
  slot.follow(large, true);
  nowUs += 200_000;
  slot.follow(large, true);
  await turn();
  expect([slot.stream, errors.map(({ scope }) => scope)]).toEqual([streams[0], ['frame']]);
  delete failure.error;
  const larger = { width: 256, height: 128 };
  slot.follow(larger, true);
  nowUs += 200_000;
  slot.follow(larger, true);
  slot.follow(TALL, true);
  await turn();
  expect(streams.map(({ closed }) => closed)).toEqual([true, true]);
  slot.follow(TALL, true);
  await turn();
  expect(slot.stream).toMatchObject({ outputWidth: 64 });
});

it('follows a source that stays smaller after four times as long as one that stays larger, not one that is for a while', async () => {
  const { slot, opened } = bench();
  const follow = async (width: number, ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 100) {
      nowUs += 100_000;
      slot.follow({ width, height: width / 2 }, true);
      await turn();
    }
  };
  await follow(64, 300);
  await follow(128, 2900);
  expect(slot.size).toEqual(WIDE);
  await follow(128, 300);
  expect([slot.size, slot.output]).toEqual([
    { width: 128, height: 64 },
    { width: 256, height: 128 },
  ]);
  await follow(64, 11_900);
  await follow(128, 100);
  await follow(64, 11_900);
  expect(slot.size).toEqual({ width: 128, height: 64 });
  await follow(64, 300);
  expect([slot.size, slot.output]).toEqual([WIDE, { width: 128, height: 64 }]);
  expect(opened).toEqual([true, true, true]);
});

it('opens another stream for the same source when asked to, beside the one at work', async () => {
  const { slot, streams, opened } = bench();
  slot.reopen();
  slot.follow(WIDE, true);
  await turn();
  slot.reopen();
  slot.reopen();
  expect(slot.stream).toBe(streams[0]);
  await turn();
  await turn();
  expect([streams.length, slot.stream === streams[1], streams[0]?.closed, opened]).toEqual([
    2,
    true,
    true,
    [true, false],
  ]);
});
