import { expect, it, vi } from 'vitest';
import { makePicture } from '../../../testing/pictures.ts';
import type {
  PushResult,
  StreamFormat,
  Upscaler,
  UpscalerInfo,
  UpscalerListener,
  UpscalerStream,
} from '../../upscalers/upscaler.ts';
import { AppError } from '../../errors.ts';
import { monotonicUs } from '../../media/clock.ts';
import type { DropReason } from '../../media/types.ts';
import type { PipelineFormat } from '../messages.ts';
import { UpscaleStage } from '../upscale-stage.ts';
import type { Picture } from '../../media/picture.ts';

/** An upscaler in FlashVSR's rhythm: 25 in before the first 21 out, then 8 for 8, work done when the test says so. */
class ChunkedUpscaler implements Upscaler {
  readonly info: UpscalerInfo = {
    kind: 'flashvsr',
    label: 'chunked',
    superResolution: true,
    scale: 1,
    device: 'test',
    lookAheadFrames: 4,
    chunkFrames: 8,
    rungs: ['all'],
  };
  readonly streams: ChunkedStream[] = [];
  failure: AppError | undefined;
  async openStream(format: StreamFormat, listener: UpscalerListener): Promise<UpscalerStream> {
    if (this.failure !== undefined) throw this.failure;
    const stream = new ChunkedStream(format, listener);
    this.streams.push(stream);
    return stream;
  }
  async close(): Promise<void> {
    // Nothing to free.
  }
}

class ChunkedStream implements UpscalerStream {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly listener: UpscalerListener;
  readonly held: Picture[] = [];
  busyUs = 0;
  closed = false;
  flushed = false;
  #next = 25;
  #first = true;
  constructor(format: StreamFormat, listener: UpscalerListener) {
    this.outputWidth = format.sourceWidth;
    this.outputHeight = format.sourceHeight;
    this.listener = listener;
  }
  get pending(): number {
    return this.held.length;
  }
  get ready(): boolean {
    return !this.closed && this.held.length < this.#next;
  }
  push(picture: Picture): PushResult {
    if (this.closed) return 'closed';
    if (!this.ready) return 'full';
    this.held.push(picture);
    return 'accepted';
  }
  /** Does the work on a full chunk. */
  work(): number {
    if (this.held.length < this.#next) return 0;
    const count = this.#first ? 21 : 8;
    this.#first = false;
    // 4 stay for the look-ahead; 8 more complete the next chunk.
    this.#next = 12;
    for (const picture of this.held.splice(0, count)) this.listener.onPicture(picture);
    return count;
  }
  setRung(): void {
    // One rung only.
  }
  async flush(): Promise<void> {
    this.flushed = true;
    for (const picture of this.held.splice(0)) this.listener.onPicture(picture);
  }
  async close(): Promise<void> {
    this.closed = true;
  }
}

interface Bench {
  readonly upscaler: ChunkedUpscaler;
  readonly stage: UpscaleStage;
  readonly results: number[];
  readonly drops: DropReason[];
  readonly errors: AppError[];
  readonly formats: PipelineFormat[];
}

function bench(): Bench {
  const upscaler = new ChunkedUpscaler();
  const results: number[] = [];
  const drops: DropReason[] = [];
  const errors: AppError[] = [];
  const formats: PipelineFormat[] = [];
  const stage = new UpscaleStage(upscaler, {
    maxQueueMs: 100,
    maxResultPixels: Infinity,
    growAfterMs: 3000,
    onFirstRung: () => undefined,
    framesPerSecond: () => 30,
    onPicture: (picture) => results.push(picture.mediaTime / 3000),
    onDrop: (reason) => drops.push(reason),
    onFormat: (format) => formats.push(format),
    onError: (error) => errors.push(error),
  });
  return { upscaler, stage, results, drops, errors, formats };
}

function frame(number: number, width = 32, height = 32): Picture {
  const picture = makePicture(width, height, number * 3000);
  picture.trace.receivedAtUs = picture.trace.assembledAtUs = monotonicUs();
  return picture;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

it('feeds a chunked upscaler and takes a chunk of pictures while it works', async () => {
  const { upscaler, stage, results, drops } = bench();
  stage.push(frame(0));
  await turn();
  const [stream] = upscaler.streams as [ChunkedStream];
  for (const number of range(1, 25)) stage.push(frame(number));
  expect(stream.held).toHaveLength(25);
  // Eight more may wait in front while the first chunk computes; the ninth pushes out the oldest.
  for (const number of range(25, 34)) stage.push(frame(number));
  expect(stage.queueDepth).toBe(8);
  expect(drops).toEqual(['queue-full']);
  expect(stream.work()).toBe(21);
  await turn();
  expect(results).toEqual(range(0, 21));
  expect(stream.held.map((picture) => picture.mediaTime / 3000)).toEqual(
    [21, 22, 23, 24, ...range(26, 34)].slice(0, 12),
  );
  await stage.close();
});

it('delivers the pictures inside when the publisher leaves, and starts a new sequence for the next', async () => {
  const { upscaler, stage, results, drops } = bench();
  stage.push(frame(0));
  await turn();
  for (const number of range(1, 10)) stage.push(frame(number));
  stage.drain();
  await turn();
  expect(results).toEqual(range(0, 10));
  expect(upscaler.streams[0]).toMatchObject({ flushed: true, closed: true });
  stage.push(frame(100));
  await turn();
  expect(upscaler.streams).toHaveLength(2);
  expect(upscaler.streams[1]?.held.map((picture) => picture.mediaTime / 3000)).toEqual([100]);
  expect(drops).toEqual([]);
  await stage.close();
});

it('reads the load from the stream, not from pictures that wait for their look-ahead', async () => {
  const { upscaler, stage } = bench();
  stage.push(frame(0));
  await turn();
  const [stream] = upscaler.streams as [ChunkedStream];
  stage.takeBusyUs();
  stream.busyUs += 1234;
  expect(stage.takeBusyUs()).toBe(1234);
  expect(stage.takeBusyUs()).toBe(0);
  await stage.close();
});

it('replaces the stream on a new aspect and keeps it on the same', async () => {
  const { upscaler, stage, formats } = bench();
  stage.push(frame(0, 64, 32));
  await turn();
  stage.push(frame(1, 128, 64));
  expect(upscaler.streams).toHaveLength(1);
  expect(upscaler.streams[0]?.held.map((picture) => picture.width)).toEqual([64, 64]);
  stage.push(frame(2, 32, 64));
  await turn();
  expect(upscaler.streams.map((stream) => stream.closed)).toEqual([true, false]);
  expect(
    formats.map(
      (format) => `${format.sourceWidth}x${format.sourceHeight}>${format.outputWidth}x${format.outputHeight}`,
    ),
  ).toEqual(['64x32>64x32', '128x64>64x32', '32x64>32x64']);
  await stage.close();
});

it('changes to a stream for a larger source without losing what the other has, or stays when there is no room', async () => {
  const { upscaler, stage, results, errors, formats } = bench();
  const at = monotonicUs();
  const source = (number: number, side: number): Picture => frame(number, side, side);
  const clock = vi.spyOn(process.hrtime, 'bigint');
  const push = async (number: number, side: number): Promise<void> => {
    clock.mockReturnValue(BigInt(at + number * 100_000) * 1000n);
    stage.push(source(number, side));
    for (const stream of upscaler.streams) stream.work();
    await turn();
    await turn();
  };
  try {
    for (const number of range(0, 6)) await push(number, 32);
    for (const number of range(6, 40)) await push(number, 64);
    const [small, large] = upscaler.streams as [ChunkedStream, ChunkedStream];
    expect(upscaler.streams).toHaveLength(2);
    expect([small.flushed, small.closed, large.closed]).toEqual([true, true, false]);
    // 3 s after it grew: everything before came out of the small one, in order; later pictures are in the large one.
    expect(results).toEqual(range(0, results.length));
    expect(large.held[0]?.mediaTime).toBe(results.length * 3000);
    expect(formats.at(-1)).toMatchObject({ outputWidth: 64 });
    upscaler.failure = new AppError('engine.memory', '10 of 80 GB free');
    for (const number of range(40, 120)) await push(number, 128);
    expect(errors.map(({ code, scope }) => `${code} ${scope}`)).toEqual(['engine.memory frame']);
    expect(large.closed).toBe(false);
  } finally {
    clock.mockRestore();
  }
  await stage.close();
});

it('reports a stream that cannot be opened once a second, not once a frame', async () => {
  const { upscaler, stage, errors, drops } = bench();
  upscaler.failure = new AppError('engine.memory', 'no memory: 10 of 80 GB free');
  for (const number of range(0, 30)) {
    stage.push(frame(number));
    await turn();
  }
  expect(errors.map((error) => error.code)).toEqual(['engine.memory']);
  expect(new Set(drops)).toEqual(new Set(['queue-full']));
  await stage.close();
});

it('opens a new stream after one failed, and ignores a lost frame', async () => {
  const { upscaler, stage, errors } = bench();
  stage.push(frame(0));
  await turn();
  const [stream] = upscaler.streams as [ChunkedStream];
  stream.listener.onError(new AppError('model.run', 'one frame', { scope: 'frame' }));
  expect(stream.closed).toBe(false);
  stream.listener.onError(new AppError('model.run', 'the stream', { scope: 'stream' }));
  expect(stream.closed).toBe(true);
  expect(errors.map((error) => error.message)).toEqual(['one frame', 'the stream']);
  await stage.close();
  await stage.close();
});
