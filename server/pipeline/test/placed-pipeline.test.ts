import { expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import type { UpscalerSpec } from '../../upscalers/spec.ts';
import type { Upscaler } from '../../upscalers/upscaler.ts';
import type { AccessUnit } from '../../media/types.ts';
import { EnginePool, type Placement } from '../engine-pool.ts';
import type { EncoderRequest, PipelineSettings } from '../messages.ts';
import type { PipelineListener } from '../pipeline.ts';
import { PlacedPipeline, type OpenPipeline } from '../placed-pipeline.ts';

const SETTINGS: PipelineSettings = { keyframeIntervalSeconds: 10, ladder: true };
const ENCODERS: readonly EncoderRequest[] = [
  { codec: 'H264', rendition: 'full', bitrateBps: 1_000_000, maxHeight: undefined } as never,
];
const UNIT = { data: new Uint8Array(1) } as AccessUnit;

/** A pool of engines that do nothing: pipelines are fakes, too. */
async function poolOf(count: number): Promise<EnginePool> {
  const specs = Array.from({ length: count }, (): UpscalerSpec => ({ kind: 'resize', scale: 4, filter: 'lanczos' }));
  const info = {
    kind: 'resize',
    label: 'fake',
    superResolution: false,
    scale: 4,
    device: 'fake',
    lookAheadFrames: 0,
  } as const;
  const fake = (): Upscaler => ({
    info: { ...info, chunkFrames: 1, rungs: ['all'], shared: true },
    openStream: () => Promise.reject(new Error('not here')),
    close: () => Promise.resolve(),
  });
  return await EnginePool.open(specs, { open: async () => fake() });
}

class FakePipeline {
  readonly pushed: AccessUnit[] = [];
  readonly encoders: (readonly EncoderRequest[])[] = [];
  finish: () => void = () => undefined;
  closed = false;
  readonly placement: Placement;
  readonly listener: PipelineListener;
  settings: PipelineSettings;
  readonly #onClosed: () => void;
  constructor(...[placement, listener, settings, onClosed]: Parameters<OpenPipeline>) {
    this.placement = placement;
    this.listener = listener;
    this.settings = settings;
    this.#onClosed = onClosed;
  }
  push(unit: AccessUnit): void {
    this.pushed.push(unit);
  }
  setEncoders(encoders: readonly EncoderRequest[]): void {
    this.encoders.push(encoders);
  }
  configure(settings: PipelineSettings): void {
    this.settings = settings;
  }
  requestKeyframe(): void {}
  reset(): void {}
  async close(): Promise<void> {
    this.closed = true;
    await new Promise<void>((resolve) => (this.finish = resolve));
    this.#onClosed();
  }
}

interface Stream {
  readonly placed: PlacedPipeline;
  readonly pipelines: FakePipeline[];
  readonly errors: AppError[];
  readonly asked: string[];
  readonly frames: unknown[];
}

function streamOn(pool: EnginePool): Stream {
  const [pipelines, errors, asked, frames]: [FakePipeline[], AppError[], string[], unknown[]] = [[], [], [], []];
  const ignore = (): void => undefined;
  const listener: PipelineListener = {
    ...{ onReady: ignore, onFormat: ignore, onLadder: ignore, onStats: ignore },
    onFrame: (frame) => frames.push(frame),
    onNeedKeyframe: (reason) => asked.push(reason),
    onError: (error) => errors.push(error),
  };
  const placed = new PlacedPipeline(pool, SETTINGS, listener, (...args) => {
    const pipeline = new FakePipeline(...args);
    pipelines.push(pipeline);
    return pipeline;
  });
  return { placed, pipelines, errors, asked, frames };
}

const engines = ({ pipelines }: Stream): number[] => pipelines.map(({ placement }) => placement.engine);
const gone = (): AppError => new AppError('engine.failed', 'The GPU has fallen off the bus.');
const noMemory = (): AppError => new AppError('engine.memory', 'The stream needs 6.3 GB; 2.0 GB are free.');

it('moves the streams of a lost engine to another one, with their encoders and settings as they are; others stay', async () => {
  const pool = await poolOf(2);
  const streams = [streamOn(pool), streamOn(pool), streamOn(pool), streamOn(pool)];
  expect(streams.map(engines)).toEqual([[0], [1], [0], [1]]);
  const [first, second, third] = streams as [Stream, Stream, Stream, Stream];
  first.placed.setEncoders(ENCODERS);
  first.placed.configure({ ...SETTINGS, keyframeIntervalSeconds: 2 });
  const [old] = first.pipelines as [FakePipeline];
  for (const stream of [first, third]) stream.pipelines[0]?.listener.onError(gone());
  expect(streams.map(engines)).toEqual([[0, 1], [1], [0, 1], [1]]);
  expect(first.errors).toMatchObject([{ code: 'engine.moved', scope: 'stream', context: { from: 0, to: 1 } }]);
  expect(first.errors[0]?.message).toMatch(/fallen off the bus.*goes on on another device/);
  expect(second.errors).toEqual([]);
  const moved = first.pipelines[1] as FakePipeline;
  expect([moved.encoders, moved.settings.keyframeIntervalSeconds]).toEqual([[ENCODERS], 2]);
  expect(first.asked).toEqual(['the stream moved to another engine']);

  // The old one is closed and has nothing more to say, whatever it still does; the new one gets the source.
  first.placed.push(UNIT);
  old.listener.onFrame({} as never);
  old.listener.onError(gone());
  moved.listener.onFrame({} as never);
  expect([old.closed, old.pushed, moved.pushed, first.frames.length]).toEqual([true, [], [UNIT], 1]);
  expect(first.errors).toHaveLength(1);
  expect([pool.size, streamOn(pool).pipelines[0]?.placement.engine]).toEqual([1, 1]);
});

it('counts a stream on the engine it has left until that pipeline is gone, and waits for it when it is closed', async () => {
  const pool = await poolOf(2);
  const stream = streamOn(pool);
  stream.pipelines[0]?.listener.onError(gone());
  expect(pool.snapshot().map(({ streams }) => streams)).toEqual([1, 1]);
  let closed = false;
  const closing = stream.placed.close().then(() => (closed = true));
  stream.pipelines[1]?.finish();
  await Promise.resolve();
  expect(closed).toBe(false);
  stream.pipelines[0]?.finish();
  await closing;
  expect(pool.snapshot().map(({ streams }) => streams)).toEqual([0, 0]);
  stream.placed.push(UNIT);
  expect(stream.pipelines[1]?.pushed).toEqual([]);
});

it('reports the loss of the last engine as it is: the process cannot go on', async () => {
  const pool = await poolOf(2);
  const stream = streamOn(pool);
  stream.pipelines[0]?.listener.onError(gone());
  const last = gone();
  stream.pipelines[1]?.listener.onError(last);
  expect(stream.errors.map(({ code }) => code)).toEqual(['engine.moved', 'engine.failed']);
  expect(stream.errors[1]).toBe(last);
  expect(() => streamOn(pool)).toThrow(/No engine works any more/);
});

it('tries a stream that finds no memory on every engine once, and then says so; the engines stay', async () => {
  const pool = await poolOf(3);
  const stream = streamOn(pool);
  for (const at of [0, 1]) stream.pipelines[at]?.listener.onError(noMemory());
  const last = noMemory();
  stream.pipelines[2]?.listener.onError(last);
  expect(engines(stream)).toEqual([0, 1, 2]);
  expect(stream.errors.map(({ code }) => code)).toEqual(['engine.moved', 'engine.moved', 'engine.memory']);
  expect(stream.errors[2]).toBe(last);
  expect(pool.size).toBe(3);
});

it('keeps the loss of an engine to the stream when the others work, but have no memory for it', async () => {
  const pool = await poolOf(2);
  const stream = streamOn(pool);
  stream.pipelines[0]?.listener.onError(noMemory());
  stream.pipelines[1]?.listener.onError(gone());
  expect(stream.errors[1]).toMatchObject({ code: 'engine.failed', scope: 'stream' });
  expect(stream.errors[1]?.message).toMatch(/No other device has room for this stream/);
  expect(pool.size).toBe(1);
});

it('lets other errors pass as they are', async () => {
  const pool = await poolOf(2);
  const stream = streamOn(pool);
  const error = new AppError('media.decode', 'one frame', { scope: 'frame' });
  stream.pipelines[0]?.listener.onError(error);
  expect([stream.errors[0], engines(stream), pool.size]).toEqual([error, [0], 2]);
});

it('gives its place back when no pipeline can be made on it', async () => {
  const pool = await poolOf(1);
  const listener = {} as PipelineListener;
  const open = (): never => {
    throw new Error('no thread');
  };
  expect(() => new PlacedPipeline(pool, SETTINGS, listener, open)).toThrow('no thread');
  expect(pool.snapshot().map(({ streams }) => streams)).toEqual([0]);
  await pool.close();
});
