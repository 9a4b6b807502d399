import { expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import type { UpscalerSpec } from '../../upscalers/spec.ts';
import type { Upscaler } from '../../upscalers/upscaler.ts';
import { EnginePool } from '../engine-pool.ts';
import type { PipelineListener } from '../pipeline.ts';

const specOf = (deviceIndex: number): UpscalerSpec => ({
  kind: 'flashvsr',
  model: { kind: 'synthetic', path: 'micro' },
  label: `engine ${deviceIndex}`,
  device: 'cuda',
  deviceIndex,
  scale: 4,
  sparseRatio: 2,
  localRange: 11,
  kvRatio: 3,
  seed: 0,
  colourMatch: 'adain',
  precision: 'bf16',
});

class FakeEngine implements Upscaler {
  readonly info;
  closed = 0;
  constructor(label: string, shared: boolean) {
    const base = { kind: 'flashvsr', superResolution: true, scale: 4, device: label, lookAheadFrames: 4 } as const;
    this.info = { ...base, label, chunkFrames: 8, rungs: ['all'], shared };
  }
  openStream(): Promise<never> {
    return Promise.reject(new Error('pipelines open their own'));
  }
  async close(): Promise<void> {
    this.closed += 1;
  }
}

async function poolOf(count: number, shared = true): Promise<{ pool: EnginePool; engines: FakeEngine[] }> {
  const engines: FakeEngine[] = [];
  const specs = Array.from({ length: count }, (_, index) => specOf(index));
  const pool = await EnginePool.open(specs, async (spec) => {
    const engine = new FakeEngine('label' in spec ? spec.label : spec.kind, shared);
    engines.push(engine);
    return engine;
  });
  return { pool, engines };
}

function recorder(): { listener: PipelineListener; errors: AppError[] } {
  const errors: AppError[] = [];
  const ignore = (): void => undefined;
  const rest = { onReady: ignore, onFormat: ignore, onFrame: ignore, onNeedKeyframe: ignore, onLadder: ignore };
  return { listener: { ...rest, onStats: ignore, onError: (error) => errors.push(error) }, errors };
}

const gone = (): AppError => new AppError('engine.failed', 'The GPU has fallen off the bus.');

it('puts each pipeline on the engine with the fewest, with the spec of its device and a slot among its own', async () => {
  const { pool } = await poolOf(2);
  const placements = [pool.place(), pool.place(), pool.place()];
  expect(placements.map(({ engine }) => engine)).toEqual([0, 1, 0]);
  expect(placements.map(({ spec }) => 'deviceIndex' in spec && spec.deviceIndex)).toEqual([0, 1, 0]);
  const [a, b, c] = placements.map(({ slot }) => slot);
  expect([a?.index, b?.index, c?.index]).toEqual([0, 0, 1]);
  expect(a?.memory).toBe(c?.memory);
  expect(a?.memory).not.toBe(b?.memory);
  placements[0]?.release();
  placements[0]?.release();
  placements[2]?.release();
  expect([pool.place().engine, pool.place().engine, pool.place().engine]).toEqual([0, 0, 1]);
});

it('loses an engine with its own streams only: the other goes on and takes new ones', async () => {
  const { pool } = await poolOf(2);
  const streams = [pool.place(), pool.place(), pool.place(), pool.place()].map((placement) => {
    const { listener, errors } = recorder();
    return { placement, errors, guarded: placement.guard(listener) };
  });
  for (const { placement, guarded } of streams) if (placement.engine === 0) guarded.onError(gone());
  expect(streams.map(({ errors }) => errors.map(({ scope }) => scope))).toEqual([['stream'], [], ['stream'], []]);
  expect(streams[0]?.errors[0]).toMatchObject({ code: 'engine.failed', context: { engine: 0 } });
  expect(streams[0]?.errors[0]?.message).toMatch(/fallen off the bus.*goes on with its other engines: 1/);
  for (const { placement } of streams.filter((stream) => stream.placement.engine === 0)) placement.release();
  expect(pool.size).toBe(1);
  // The lost engine has the fewest now, and gets nothing.
  expect([pool.place().engine, pool.place().engine]).toEqual([1, 1]);
});

it('reports the loss of the last engine as one of the process, and places nothing afterwards', async () => {
  const { pool } = await poolOf(2);
  const [first, second] = [recorder(), recorder()];
  pool.place().guard(first.listener).onError(gone());
  pool.place().guard(second.listener).onError(gone());
  expect([first.errors[0]?.scope, second.errors[0]?.scope]).toEqual(['stream', 'process']);
  expect(() => pool.place()).toThrow(/No engine works any more/);
});

it('lets other errors pass as they are, and gives no slot on engines that streams do not share', async () => {
  const { pool } = await poolOf(1, false);
  const { listener, errors } = recorder();
  const placement = pool.place();
  const error = new AppError('model.run', 'one frame', { scope: 'frame' });
  placement.guard(listener).onError(error);
  expect([errors[0], placement.slot, pool.size]).toEqual([error, undefined, 1]);
});

it('closes every engine once, also those that were open when another could not be opened', async () => {
  const { pool, engines } = await poolOf(2);
  await Promise.all([pool.close(), pool.close()]);
  expect(engines.map(({ closed }) => closed)).toEqual([1, 1]);
  const opened = new FakeEngine('engine 0', true);
  const failing = EnginePool.open([specOf(0), specOf(1)], async (spec) => {
    if ('deviceIndex' in spec && spec.deviceIndex === 1) throw new AppError('engine.device', 'no such device');
    return opened;
  });
  await expect(failing).rejects.toThrow('no such device');
  expect(opened.closed).toBe(1);
});
