import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../../errors.ts';
import {
  checkModel,
  FlashVsrEngine,
  importModel,
  listDevices,
  loadAddon,
  type FlashVsrStream,
  type StreamEvents,
  type StreamFrame,
  type StreamOptions,
} from '../binding.ts';
import { GOLDEN_WEIGHTS, HAVE_ADDON, ramp } from '../../../../testing/micro-flashvsr.ts';
import { until } from '../../../../testing/until.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'binding-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MICRO = { kind: 'synthetic', path: 'micro' } as const;
const REFERENCE = { device: 'reference', threads: 2 } as const;
const SMALL = { sourceWidth: 32, sourceHeight: 32, coldStartFrames: 1, gatherDeadlineMs: 0 } as const;

// What a test opens is closed after it, failed or not: an engine left open would fail the tests that count engines.
const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
  if (HAVE_ADDON) await noEngineOpen();
});

async function openEngine(model: Parameters<typeof FlashVsrEngine.open>[0] = MICRO): Promise<FlashVsrEngine> {
  const engine = await FlashVsrEngine.open(model, REFERENCE);
  opened.push(engine);
  return engine;
}

async function openStream(
  engine: FlashVsrEngine,
  options: StreamOptions,
  events: StreamEvents,
): Promise<FlashVsrStream> {
  const stream = await engine.openStream(options, events);
  opened.push(stream);
  return stream;
}

const noEngineOpen = () => until(() => loadAddon().openEngines() === 0, 'the last engine to close');

/** Collects events; frames are kept as they come. */
function collector() {
  const seen = { frames: [] as StreamFrame[], errors: [] as AppError[], closed: 0 };
  const events: StreamEvents = {
    onFrame: (frame) => seen.frames.push(frame),
    onError: (error) => seen.errors.push(error),
    onClosed: () => (seen.closed += 1),
  };
  return { seen, events };
}

async function refusal(run: () => Promise<unknown>): Promise<AppError> {
  const error: unknown = await run().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AppError);
  return error as AppError;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs a program beside this one; it must end by itself. */
async function runProgram(name: string, ...args: string[]): Promise<string> {
  const file = fileURLToPath(new URL(`programs/${name}`, import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', file, ...args], {
    timeout: 100_000,
  });
  return stdout.trim();
}

describe.skipIf(!HAVE_ADDON)('the native binding', () => {
  it('lists both devices, and says why CUDA cannot be used where it cannot', async () => {
    const devices = await listDevices('/no/such/libflashvsr_cuda.so');
    expect(devices.map((device) => device.device).sort()).toEqual(['cuda', 'reference']);
    const cuda = devices.find((device) => device.device === 'cuda');
    expect(cuda?.usable).toBe(false);
    expect(cuda?.reason).not.toBe('');
    expect(devices.find((device) => device.device === 'reference')?.usable).toBe(true);
    const error = await refusal(() =>
      FlashVsrEngine.open(MICRO, { device: 'cuda', cudaLibraryPath: '/no/such/libflashvsr_cuda.so' }),
    );
    expect(error.code).toBe('engine.device');
    expect(error.message).toContain('CUDA');
  });

  it('turns native errors into AppErrors with code, scope, remedy and the caller in the stack', async () => {
    const error = await refusal(() => checkModel({ kind: 'official', path: folder, variant: 'v1' }));
    expect(error.code).toBe('weights.invalid');
    expect(error.scope).toBe('process');
    expect(error.remedy).not.toBe('');
    expect(error.message).toContain('4 problems');
    expect(error.context['nativeCode']).toBe('weights.invalid');
    expect(error.stack).toContain('binding.it.test.ts');
  });

  it('imports the golden weights, reads their sizes and streams with them', async () => {
    const steps = new Set<string>();
    const text = await importModel(
      {
        transformer: `${GOLDEN_WEIGHTS}/diffusion_pytorch_model_streaming_dmd.safetensors`,
        projector: `${GOLDEN_WEIGHTS}/LQ_proj_in.ckpt`,
        decoder: `${GOLDEN_WEIGHTS}/TCDecoder.ckpt`,
        prompt: `${GOLDEN_WEIGHTS}/posi_prompt.pth`,
        outputFolder: path.join(folder, 'golden'),
        name: 'golden',
        variant: 'v1.1',
        origin: 'test',
        licence: 'Apache-2.0',
        createdAt: new Date(0).toISOString(),
        replace: false,
      },
      (step) => steps.add(step),
    );
    expect(JSON.parse(text)).toMatchObject({ kind: 'flashvsr', variant: 'v1.1', file: 'model.safetensors' });
    expect([...steps]).toEqual(['check', 'write']);
    const file = path.join(folder, 'golden', 'model.safetensors');
    expect(await checkModel({ kind: 'imported', path: file })).toMatchObject({ dim: 256, layers: 2, textLen: 32 });

    const engine = await openEngine({ kind: 'imported', path: file });
    const { seen, events } = collector();
    const stream = await openStream(engine, SMALL, events);
    for (let number = 0; number < 5; number += 1) expect(stream.push(ramp(number))).toBe('accepted');
    await stream.flush();
    expect(seen.frames.map((frame) => frame.mediaTime)).toEqual([0, 3000, 6000, 9000, 12_000]);
    expect(seen.frames.every((frame) => frame.width === 128 && frame.height === 128)).toBe(true);
    expect(new Set(new Uint8Array(seen.frames[0]?.data ?? new ArrayBuffer(0))).size).toBeGreaterThan(4);
    await stream.close();
    await engine.close();
    expect(seen).toMatchObject({ errors: [], closed: 1 });
    expect(loadAddon().openEngines()).toBe(0);
  });

  it('shares one engine between handles that ask for the same, and closes it with the last', async () => {
    const [first, second] = await Promise.all([openEngine(), openEngine()]);
    expect(loadAddon().openEngines()).toBe(1);
    await first.close();
    await first.close();
    expect(loadAddon().openEngines()).toBe(1);
    expect((await second.plan(SMALL)).fits).toBe(true);
    await second.close();
    expect(loadAddon().openEngines()).toBe(0);
    expect((await refusal(() => second.plan(SMALL))).message).toContain('closed');
  });

  it('answers "full" by value, takes pushes again later and loses nothing that it accepted', async () => {
    const engine = await openEngine();
    const { seen, events } = collector();
    const stream = await openStream(engine, { ...SMALL, inputQueueFrames: 25, coldStartFrames: 25 }, events);
    const accepted: number[] = [];
    let full = 0;
    // The engine's thread may take pictures between any two calls: `ready` is compared right after a refusal, until both agree.
    let agreed = false;
    for (let number = 0; number < 20_000 && !agreed; number += 1) {
      if (stream.push(ramp(number)) === 'accepted') {
        accepted.push(number * 3000);
      } else {
        full += 1;
        agreed = !stream.ready;
      }
    }
    expect(agreed).toBe(true);
    expect(stream.stats.refusedFrames).toBe(full);
    await stream.flush();
    expect(seen.frames.map((frame) => frame.mediaTime)).toEqual(accepted);
    expect(stream.ready).toBe(true);
    await stream.close();
    await engine.close();
  });

  it('hands big frames over as the engine’s memory and takes it back; a receiver that keeps all gets copies', async () => {
    const engine = await openEngine();
    const { seen, events } = collector();
    // 256 x 256 x 1.5 bytes: above the size that is always copied.
    const stream = await openStream(engine, { ...SMALL, sourceWidth: 64, sourceHeight: 64 }, events);
    for (let number = 0; number < 30; number += 1) {
      while (stream.push(ramp(number, 64, 64)) !== 'accepted') await sleep(5);
    }
    await stream.flush();
    expect(seen.frames.length).toBe(30);
    const lent = seen.frames.filter((frame) => frame.loan !== undefined);
    expect(lent.length).toBe(24);
    expect(stream.stats.outputFramesHeld).toBe(24);
    for (const frame of lent) {
      frame.release();
      frame.release();
      expect(frame.data.byteLength).toBe(0);
    }
    expect(stream.stats.outputFramesHeld).toBe(0);
    await stream.close();
    // Frames outlive stream and engine.
    const kept = seen.frames.find((frame) => frame.loan === undefined);
    await engine.close();
    expect(kept?.data.byteLength).toBe(256 * 256 * 1.5);
  });

  it('refuses pictures whose planes do not hold what they say, and goes on', async () => {
    const engine = await openEngine();
    const { seen, events } = collector();
    const stream = await openStream(engine, SMALL, events);
    const good = ramp(0);
    for (const bad of [
      { ...good, y: good.y.subarray(1) },
      { ...good, uvStride: 8 },
      { ...good, u: new Uint8Array(0) },
      { ...good, width: 0 },
      { ...good, height: -4 },
      { ...good, width: 1 << 20 },
    ]) {
      let error: unknown;
      try {
        stream.push(bad);
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(AppError);
      expect((error as AppError).scope).toBe('frame');
    }
    expect(stream.push(good)).toBe('accepted');
    await stream.flush();
    expect(seen.frames.length).toBe(1);
    await stream.close();
    await engine.close();
  });

  it('close() is idempotent and safe while a chunk runs; pictures inside are thrown away', async () => {
    const engine = await openEngine();
    for (let round = 0; round < 5; round += 1) {
      const { seen, events } = collector();
      const stream = await openStream(engine, SMALL, events);
      for (let number = 0; number < 16; number += 1) stream.push(ramp(number));
      const flushed = stream.flush();
      await sleep(round * 15);
      const first = stream.close();
      const frames = seen.frames.length;
      await Promise.all([first, stream.close(), flushed]);
      expect(seen.closed).toBe(1);
      expect(seen.frames.length).toBe(frames);
      expect(stream.push(ramp(0))).toBe('closed');
      expect(stream.ready).toBe(false);
      await stream.flush();
      await stream.close();
      stream.update({ sparseRatio: 1 });
      expect(stream.stats.pushedFrames).toBeGreaterThan(0);
    }
    await engine.close();
    expect(loadAddon().openEngines()).toBe(0);
  });

  it('closing the engine leaves its streams alone until they close', async () => {
    const engine = await openEngine();
    const { seen, events } = collector();
    const stream = await openStream(engine, SMALL, events);
    await engine.close();
    stream.push(ramp(0));
    await stream.flush();
    expect(seen.frames.length).toBe(1);
    await stream.close();
    await until(() => loadAddon().openEngines() === 0, 'the engine to close with its last stream');
  });

  it('refuses what does not fit with the numbers, and says so in a plan', async () => {
    const engine = await openEngine();
    const huge = { ...SMALL, sourceWidth: 2048, sourceHeight: 2048, settings: { kvRatio: 16 } };
    const plan = await engine.plan(huge);
    expect(plan.fits).toBe(plan.streamBytes < plan.availableBytes);
    // 85 GB: more than any machine of the kind that runs these tests has free.
    if (!plan.fits) {
      expect(plan.message).toMatch(/\d/);
      const error = await refusal(() => openStream(engine, huge, collector().events));
      expect(error.code).toBe('engine.memory');
    }
    expect(plan.streamBytes).toBeGreaterThan((await engine.plan(SMALL)).streamBytes);
    expect((await refusal(() => engine.plan({ ...SMALL, scale: 1e9 }))).code).toBe('config.invalid');
    await engine.close();
  });

  it('200 streams opened, used and closed leave no memory behind', async () => {
    const engine = await openEngine();
    const once = async (round: number): Promise<void> => {
      const work = round % 5 === 0;
      const { events } = collector();
      const stream = await openStream(engine, SMALL, events);
      if (work) stream.push(ramp(1));
      if (round % 20 === 0) await stream.flush();
      await stream.close();
    };
    for (let round = 0; round < 20; round += 1) await once(round);
    const before = process.memoryUsage().rss;
    for (let round = 0; round < 200; round += 1) await once(round);
    const grown = process.memoryUsage().rss - before;
    // A stream of this size needs 20 MB: one in ten kept would be 400 MB.
    expect(grown).toBeLessThan(60e6);
    expect((await engine.plan(SMALL)).fits).toBe(true);
    await engine.close();
  });

  it('workers share the engine with this thread, and may end in the middle of everything', async () => {
    const engine = await openEngine();
    const file = fileURLToPath(new URL('programs/worker.mjs', import.meta.url));
    const start = async (): Promise<Worker> => {
      const worker = new Worker(file);
      await new Promise<void>((resolve, reject) => {
        worker.once('message', () => resolve());
        worker.once('error', reject);
      });
      return worker;
    };
    // Each has an open stream with a chunk at work when it is terminated.
    const workers = await Promise.all([start(), start(), start()]);
    expect(loadAddon().openEngines()).toBe(1);
    await Promise.all(workers.map((worker) => worker.terminate()));
    const { seen, events } = collector();
    const stream = await openStream(engine, SMALL, events);
    stream.push(ramp(0));
    await stream.flush();
    expect(seen.frames.length).toBe(1);
    await stream.close();
    await engine.close();
    expect(loadAddon().openEngines()).toBe(0);
  });

  it.each(['idle', 'chunk', 'opening', 'importing', 'flushing'])(
    'process.exit() ends the process at once and cleanly: %s',
    async (moment) => {
      expect(await runProgram('exit.ts', moment)).toBe(`exiting while ${moment}`);
    },
  );

  it('an exception in a listener is the program’s uncaught exception, not a crash', async () => {
    expect(await runProgram('exit.ts', 'throwing')).toBe('uncaught: from a listener');
  });

  it('after a failure of the engine the process leaves without waiting: no exit listener, the code for the supervisor', async () => {
    await expect(runProgram('exit.ts', 'failed')).rejects.toMatchObject({ code: 70, stdout: 'reference failed\n' });
  });

  it('a process with everything closed ends by itself, and one with an open engine and no stream too', async () => {
    expect(await runProgram('exit.ts', 'closed')).toBe('exiting while closed');
    expect(await runProgram('exit.ts', 'open')).toBe('exiting while open');
  });
});
