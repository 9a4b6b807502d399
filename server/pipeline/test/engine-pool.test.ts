import { expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import type { UpscalerSpec } from '../../upscalers/spec.ts';
import type { Upscaler } from '../../upscalers/upscaler.ts';
import { EnginePool } from '../engine-pool.ts';
import { FLASHVSR_SETTINGS } from '../../../testing/flashvsr-settings.ts';

const specOf = (deviceIndex: number): UpscalerSpec => ({
  kind: 'flashvsr',
  model: { kind: 'synthetic', path: 'micro' },
  label: `engine ${deviceIndex}`,
  device: 'cuda',
  deviceIndex,
  ...FLASHVSR_SETTINGS,
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
  const open = async (spec: UpscalerSpec): Promise<FakeEngine> => {
    const engine = new FakeEngine('label' in spec ? spec.label : spec.kind, shared);
    engines.push(engine);
    return engine;
  };
  const pool = await EnginePool.open(specs, { open });
  return { pool, engines };
}

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

it('places nothing on an engine that is lost or has refused the stream, and nothing at all when none works', async () => {
  const { pool } = await poolOf(3);
  pool.lose(0);
  expect(pool.size).toBe(2);
  expect([pool.place().engine, pool.place().engine, pool.place().engine]).toEqual([1, 2, 1]);
  expect(pool.place(new Set([2])).engine).toBe(1);
  expect(pool.snapshot()).toEqual([
    { device: '0', name: 'engine 0', streams: 0, lost: true },
    { device: '1', name: 'engine 1', streams: 3, lost: false },
    { device: '2', name: 'engine 2', streams: 1, lost: false },
  ]);
  expect(() => pool.place(new Set([1, 2]))).toThrow(/No engine works any more/);
  pool.lose(1);
  pool.lose(2);
  expect(() => pool.place()).toThrow(/No engine works any more/);
});

it('gives no slot on engines that streams do not share', async () => {
  const { pool } = await poolOf(1, false);
  expect(pool.place().slot).toBeUndefined();
});

it('leaves out a device that cannot hold the model while another one can', async () => {
  const tooSmall = new AppError('engine.memory', 'The weights need 3.3 GB; 1.0 GB are free.');
  const left: unknown[] = [];
  const open = async (spec: UpscalerSpec): Promise<FakeEngine> => {
    if ('deviceIndex' in spec && spec.deviceIndex !== 1) throw tooSmall;
    return new FakeEngine('engine 1', true);
  };
  const leaveOut = (spec: UpscalerSpec, error: AppError): void =>
    void left.push(['deviceIndex' in spec && spec.deviceIndex, error.code]);
  const pool = await EnginePool.open([specOf(0), specOf(1), specOf(2)], { open, leaveOut });
  expect([pool.size, pool.place().spec]).toEqual([1, specOf(1)]);
  expect(left).toEqual([
    [0, 'engine.memory'],
    [2, 'engine.memory'],
  ]);
  await expect(EnginePool.open([specOf(0), specOf(2)], { open, leaveOut })).rejects.toBe(tooSmall);
});

it('closes every engine once, also those that were open when another could not be opened', async () => {
  const { pool, engines } = await poolOf(2);
  await Promise.all([pool.close(), pool.close()]);
  expect(engines.map(({ closed }) => closed)).toEqual([1, 1]);
  const opened = new FakeEngine('engine 0', true);
  const open = async (spec: UpscalerSpec): Promise<FakeEngine> => {
    if ('deviceIndex' in spec && spec.deviceIndex === 1) throw new AppError('engine.device', 'no such device');
    return opened;
  };
  const failing = EnginePool.open([specOf(0), specOf(1)], { open });
  await expect(failing).rejects.toThrow('no such device');
  expect(opened.closed).toBe(1);
});
