import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Log } from '../../log.ts';
import { INFO, World, recordingSink } from './fakes.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('settings of one broadcast', () => {
  it('change while it runs: the bit rate of the next second, and of no other broadcast', async () => {
    const world = new World();
    for (const name of ['a', 'b']) {
      await world.publish(name);
      const { peer } = await world.watch(name);
      peer.connect();
      peer.estimateBps = 20_000_000;
    }
    world.pass(5);
    const bitrates = () => world.pipelines.map(({ encoders }) => encoders[0]?.bitrateBps);
    expect(bitrates()).toEqual([6_000_000, 6_000_000]);
    world.registry.get('a')?.changeSettings({ maxBitrateBps: 2_000_000 });
    world.pass(1);
    expect(bitrates()).toEqual([2_000_000, 6_000_000]);
    world.registry.get('a')?.changeSettings({ maxBitrateBps: 4_000_000 });
    world.pass(1);
    expect(bitrates()).toEqual([4_000_000, 6_000_000]);
  });

  it('reach the pipeline, the audio and the reservation as well', async () => {
    const world = new World();
    const { session } = await world.publish('a');
    const broadcast = world.registry.get('a');
    broadcast?.changeSettings({ ladder: false, keyframeIntervalSeconds: 2, audioDelayMs: 300, resumeSeconds: 5 });
    expect(world.pipelines[0]?.settings).toEqual({ ladder: false, keyframeIntervalSeconds: 2 });
    world.pass(1);
    expect(broadcast?.stats?.audio.delayMs).toBe(300);
    await world.sessions.leave(session, 'disconnected');
    world.pass(6);
    expect(world.registry.list().broadcasts).toEqual([]);
  });

  it('are refused by name, and change nothing', async () => {
    const world = new World();
    await world.publish('a');
    const broadcast = world.registry.get('a');
    const before = broadcast?.settings;
    expect(() => broadcast?.changeSettings({ maxBitrateBps: 100_000 })).toThrow('minBitrateBps: 300000 exceeds');
    expect(() => broadcast?.changeSettings({ lowBitrateBps: 0 })).toThrow('lowBitrateBps: 0 is not');
    expect(() => broadcast?.changeSettings({ resumeSeconds: -1 })).toThrow('resumeSeconds');
    expect(broadcast?.settings).toEqual(before);
  });
});

it('a source that changes its size with every frame is logged once in five seconds, with the number of changes', async () => {
  const lines: { event: string; fields: Record<string, unknown> }[] = [];
  const write = (fields: Record<string, unknown>, event: string) => void lines.push({ event, fields });
  const log = { debug: write, info: write, warn: write, error: write, child: () => log } as unknown as Log;
  const world = new World({ log });
  await world.publish('a');
  for (let frame = 0; frame < 300; frame += 1) {
    const side = 160 + (frame % 2) * 16;
    world.pipelines[0]?.listener.onFormat({
      ...{ sourceWidth: side, sourceHeight: 90, outputWidth: side * 4, outputHeight: 360 },
    });
    world.nowUs += 33_000;
  }
  const formats = lines.filter(({ event }) => event === 'pipeline.format');
  expect(formats).toHaveLength(2);
  expect(formats[1]?.fields['changesNotLogged']).toBeGreaterThan(100);
  // Statistics and the list have the newest all the same.
  expect(world.registry.list().broadcasts[0]?.sourceWidth).toBe(176);
});

it('shows its state as JSON for /debug/state: everything in it, no token', async () => {
  const world = new World();
  const { resumeToken } = await world.publish('a', recordingSink());
  world.pipelines[0]?.listener.onReady(INFO);
  const { peer } = await world.watch('a');
  await world.watch('a');
  peer.connect();
  world.frame('H264', 'full', true);
  const text = JSON.stringify(world.registry);
  expect(JSON.parse(text)).toMatchObject({
    places: { capacity: 4, taken: 1, waiting: 0 },
    viewers: 2,
    broadcasts: [
      {
        name: 'a',
        state: 'live',
        ownership: 'publishing',
        source: { kind: 'publisher', peer: 'connected' },
        pipeline: { open: true, model: 'Lanczos resize' },
        audience: {
          encoders: [{ codec: 'H264', rendition: 'full' }],
          subscribers: [
            { kind: 'viewer', state: { kind: 'playing', rendition: 'full', wanted: 'full' }, codec: 'H264' },
            { kind: 'viewer', state: { kind: 'connecting' } },
          ],
        },
      },
    ],
  });
  expect(text).not.toContain(resumeToken);
});

it('a viewer who joins while a shared screen stands still makes the source send a picture', async () => {
  const world = new World();
  await world.publish('a');
  const [source] = world.publishers;
  const { peer: first } = await world.watch('a');
  first.connect();
  // A source in motion is not asked: the next picture comes by itself.
  expect(world.pipelines[0]?.keyframes).toEqual(['H264 full']);
  expect(source?.keyframeRequests).toBe(0);
  world.frame('H264', 'full', true);
  world.pass(5);
  const { peer: late } = await world.watch('a');
  late.connect();
  expect(world.pipelines[0]?.keyframes).toHaveLength(2);
  expect(source?.keyframeRequests).toBe(1);
});
