import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { makePicture } from '../../../testing/pictures.ts';
import type { UpscalerInfo } from '../../upscalers/upscaler.ts';
import { monotonicUs } from '../../media/clock.ts';
import { quantile } from '../../media/quantile.ts';
import { EngineSlots } from '../engine-share.ts';
import { PaceStage, type PaceStageOptions } from '../pace-stage.ts';
import { SimulatedBroadcast, SimulatedEngine } from './simulated-engine.ts';
import type { Picture } from '../../media/picture.ts';

/**
 * Queue, upscale stage and pace stage around an engine simulated in time: what a viewer of FlashVSR waits. 352x192 at 30 fps
 * took 137 ms a chunk on an H100 80GB on 2026-11-22 and 112 ms on 2026-11-23, then with the first picture after 94 ms and the
 * others 2.5 ms apart (bench:engine). 11 frames, 367 ms, are structural.
 */
const STRUCTURAL_MS = (11 * 1000) / 30;
const FIRST_CHUNK_MS = 300;

const open: SimulatedBroadcast[] = [];
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'hrtime'] });
  // The simulated clock starts late enough for zero to mean "never".
  vi.advanceTimersByTime(60_000);
});
afterEach(async () => {
  for (const broadcast of open.splice(0)) await broadcast.stop();
  vi.useRealTimers();
});

const run = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

function broadcast(engine: SimulatedEngine, slots?: EngineSlots, framesPerSecond = 30): SimulatedBroadcast {
  const made = new SimulatedBroadcast(engine, { framesPerSecond, ...(slots === undefined ? {} : { slots }) });
  open.push(made);
  return made;
}

const p95 = (values: readonly number[]): number => quantile(values, 0.95);

/** Nothing dropped, every picture a frame after the one before, all equally late. */
function expectSteady(stream: SimulatedBroadcast, fromMs: number): void {
  expect(stream.drops.filter(({ atMs }) => atMs >= fromMs)).toEqual([]);
  const added = stream.added(fromMs);
  expect(added.length).toBeGreaterThan(100);
  expect(Math.max(...added) - Math.min(...added)).toBeLessThan(3);
  expect(Math.max(...stream.intervals(fromMs))).toBeLessThan(37);
  expect(Math.min(...stream.intervals(fromMs))).toBeGreaterThan(30);
}

describe('one stream', () => {
  it.each([115, 137, 200])('adds what gathering and %d ms of work take, and a few ms of room', async (workMs) => {
    const engine = new SimulatedEngine({ workMs: (chunk) => (chunk === 0 ? FIRST_CHUNK_MS : workMs) });
    const stream = broadcast(engine);
    await run(15_000);
    expectSteady(stream, 4000);
    expect(p95(stream.added(4000))).toBeGreaterThan(STRUCTURAL_MS + workMs);
    expect(p95(stream.added(4000))).toBeLessThan(STRUCTURAL_MS + workMs + 12);
    expect(stream.drops).toEqual([]);
  });

  it('gains what the engine delivers early, picture by picture', async () => {
    const engine = new SimulatedEngine({ workMs: (chunk) => (chunk === 0 ? FIRST_CHUNK_MS : 112), pictureMs: 2.5 });
    const stream = broadcast(engine);
    await run(15_000);
    expectSteady(stream, 4000);
    expect(p95(stream.added(4000))).toBeLessThan(STRUCTURAL_MS + 94.5 + 12);
  });

  it('forgets a first chunk of two seconds within six', async () => {
    const engine = new SimulatedEngine({ workMs: (chunk) => (chunk === 0 ? 2000 : 115) });
    const stream = broadcast(engine);
    await run(20_000);
    expect(Math.max(...stream.delays.map(({ delayMs }) => delayMs))).toBeGreaterThan(700);
    expectSteady(stream, 8000);
    expect(p95(stream.added(8000))).toBeLessThan(STRUCTURAL_MS + 115 + 25);
  });

  it('shows a lone spike late and keeps its delay', async () => {
    const engine = new SimulatedEngine({ workMs: (chunk) => (chunk % 30 === 20 ? 215 : 115) });
    const stream = broadcast(engine);
    await run(20_000);
    expect(stream.delays.every(({ delayMs }) => delayMs < STRUCTURAL_MS + 150)).toBe(true);
    expect(stream.drops).toEqual([]);
    expect(stream.pace.lateFrames).toBeGreaterThan(0);
    expect(quantile(stream.added(5000), 0.9)).toBeLessThan(STRUCTURAL_MS + 115 + 25);
  });

  it('rises above jitter so that nearly nothing is late', async () => {
    // 115 ms +- 20, the same every time.
    const engine = new SimulatedEngine({ workMs: (chunk) => 95 + ((chunk * 7919) % 41) });
    const stream = broadcast(engine);
    await run(8000);
    const late = stream.pace.lateFrames;
    await run(30_000);
    expect(stream.drops).toEqual([]);
    expect(stream.pace.lateFrames - late).toBe(0);
    expect(p95(stream.added(8000))).toBeLessThan(STRUCTURAL_MS + 135 + 15);
  });

  it('follows a change of the frame rate both ways, without dropping a picture', async () => {
    const stream = broadcast(new SimulatedEngine({ workMs: () => 115 }));
    await run(6000);
    stream.setFrameRate(15);
    await run(8000);
    expect(p95(stream.added(11_000))).toBeGreaterThan((11 * 1000) / 15 + 115);
    expect(p95(stream.added(11_000))).toBeLessThan((11 * 1000) / 15 + 140);
    stream.setFrameRate(30);
    await run(10_000);
    expect(p95(stream.added(21_000))).toBeLessThan(STRUCTURAL_MS + 140);
    expect(stream.drops).toEqual([]);
  });

  it('comes down evenly: no bursts on the way to a lower delay', async () => {
    const engine = new SimulatedEngine({ workMs: (chunk) => (chunk < 30 ? 220 : 115) });
    const stream = broadcast(engine);
    await run(20_000);
    expect(p95(stream.added(6000, 8000))).toBeGreaterThan(STRUCTURAL_MS + 220);
    expect(p95(stream.added(15_000))).toBeLessThan(STRUCTURAL_MS + 140);
    expect(Math.min(...stream.intervals(6000))).toBeGreaterThan(25);
    expect(stream.drops).toEqual([]);
  });
});

describe('two streams on one engine', () => {
  const engineOf = (workMs: number): SimulatedEngine =>
    new SimulatedEngine({ workMs: (chunk) => (chunk === 0 ? FIRST_CHUNK_MS : workMs) });

  it.each([1, 50, 130, 200])('that start %d ms apart do not wait for each other', async (apartMs) => {
    const [engine, slots] = [engineOf(115), new EngineSlots()];
    const first = broadcast(engine, slots);
    await run(apartMs);
    const second = broadcast(engine, slots);
    await run(20_000);
    for (const stream of [first, second]) {
      expectSteady(stream, 6000);
      expect(p95(stream.added(6000))).toBeLessThan(STRUCTURAL_MS + 115 + 20);
    }
    // What it costs: a few pictures of the second one's start.
    expect(first.drops).toEqual([]);
    expect(second.drops.every(({ reason, atMs }) => reason === 'phase' && atMs < 400)).toBe(true);
    expect(second.drops.length).toBeLessThan(8);
  });

  it.each([1, 90, 133])('with the measured engine, started %d ms apart, are as quick as one', async (apartMs) => {
    const engine = new SimulatedEngine({ workMs: (chunk) => (chunk === 0 ? FIRST_CHUNK_MS : 112), pictureMs: 2.5 });
    const slots = new EngineSlots();
    const first = broadcast(engine, slots);
    await run(apartMs);
    const second = broadcast(engine, slots);
    await run(20_000);
    for (const stream of [first, second]) {
      expectSteady(stream, 6000);
      expect(p95(stream.added(6000))).toBeLessThan(STRUCTURAL_MS + 94.5 + 20);
    }
  });

  it('that cannot see each other wait at most for one chunk', async () => {
    const engine = engineOf(115);
    const first = broadcast(engine);
    await run(1);
    const second = broadcast(engine);
    await run(20_000);
    for (const stream of [first, second]) {
      expectSteady(stream, 6000);
      expect(p95(stream.added(6000))).toBeLessThan(STRUCTURAL_MS + 230 + 20);
    }
  });

  it('whose clocks differ drift through every phase: the delay follows up and down, nothing is dropped', async () => {
    const [engine, slots] = [engineOf(115), new EngineSlots()];
    const first = broadcast(engine, slots);
    await run(50);
    // A third of a percent apart: once through all phases in 80 s.
    const second = broadcast(engine, slots, 29.9);
    await run(90_000);
    for (const stream of [first, second]) {
      expect(stream.drops.filter(({ atMs }) => atMs > 400)).toEqual([]);
      expect(Math.max(...stream.added(6000))).toBeLessThan((11 * 1000) / 29.9 + 230 + 30);
      expect(quantile(stream.added(6000), 0.5)).toBeLessThan(STRUCTURAL_MS + 115 + 80);
    }
  });

  it('of which one leaves: the delay of the other comes down within four seconds', async () => {
    const engine = engineOf(115);
    const first = broadcast(engine);
    await run(20);
    const second = broadcast(engine);
    await run(10_000);
    expect(p95(second.added(6000))).toBeGreaterThan(STRUCTURAL_MS + 200);
    await first.stop();
    await run(8000);
    expect(p95(second.added(15_000))).toBeLessThan(STRUCTURAL_MS + 115 + 25);
    expect(second.drops).toEqual([]);
  });

  it('that are too much for it reach a bounded delay, and drop in front of the engine only', async () => {
    const engine = engineOf(137);
    const first = broadcast(engine);
    await run(50);
    const second = broadcast(engine);
    await run(30_000);
    for (const stream of [first, second]) {
      expect(new Set(stream.drops.map(({ reason }) => reason))).toEqual(new Set(['queue-full']));
      expect(stream.pace.presentationDelayMs).toBeLessThan(STRUCTURAL_MS + 3 * 267);
    }
  });
});

describe('the pace stage', () => {
  const info: UpscalerInfo = {
    kind: 'flashvsr',
    label: 'chunked',
    superResolution: true,
    scale: 1,
    device: 'test',
    lookAheadFrames: 4,
    chunkFrames: 8,
    rungs: ['all', 'resize'],
    chunkedRungs: 1,
  };
  const options = (overrides: Partial<PaceStageOptions> = {}): PaceStageOptions => ({
    info,
    framesPerSecond: () => 30,
    onPicture: () => undefined,
    onDrop: () => undefined,
    onDelay: () => undefined,
    ...overrides,
  });
  const picture = (number: number, receivedAtUs: number): Picture => {
    const made = makePicture(16, 16, number * 3000);
    made.trace.receivedAtUs = receivedAtUs;
    return made;
  };

  it('paces a chunk out one by one, and lets frame-by-frame kinds through at once', async () => {
    const released: number[] = [];
    const onPicture = ({ mediaTime }: Picture): void => void released.push(mediaTime / 3000);
    const pace = new PaceStage(options({ onPicture }));
    for (let number = 0; number < 8; number += 1) pace.push(picture(number, monotonicUs() - (7 - number) * 33_333));
    // The first is due a presentation delay after its arrival; none is released in the burst they came in.
    expect(released).toEqual([]);
    expect(vi.getTimerCount()).toBe(1);
    await run(400);
    expect(released.length).toBeGreaterThan(0);
    expect(released.length).toBeLessThan(8);
    pace.close();
    expect(vi.getTimerCount()).toBe(0);
    const direct = new PaceStage(options({ onPicture, info: { ...info, chunkFrames: 1, lookAheadFrames: 0 } }));
    direct.push(picture(10, monotonicUs()));
    expect(released.at(-1)).toBe(10);
  });

  it('keeps its delay while a rung answers picture by picture, and measures again when chunks come back', async () => {
    const pace = new PaceStage(options());
    let number = 0;
    const seconds = async (count: number, tookMs: number): Promise<void> => {
      for (let frame = 0; frame < 30 * count; frame += 1) {
        pace.push(picture((number += 1), monotonicUs() - tookMs * 1000));
        await run(33);
      }
    };
    await seconds(6, 600);
    const chunked = pace.presentationDelayMs;
    expect(chunked).toBeGreaterThan(600);
    pace.setRung(1);
    await seconds(12, 20);
    expect(pace.presentationDelayMs).toBe(chunked);
    pace.setRung(0);
    await seconds(12, 500);
    expect(pace.presentationDelayMs).toBeLessThan(600);
    pace.close();
  });
});
