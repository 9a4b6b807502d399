import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { textPage } from '../../../testing/drawn-pages.ts';
import { makeStream } from '../../../testing/pictures.ts';
import { planarModel } from '../../../testing/onnx-file.ts';
import type { AppError } from '../../errors.ts';
import { monotonicUs } from '../../media/clock.ts';
import { quantile } from '../../media/quantile.ts';
import type { AccessUnit, EncodedFrame } from '../../media/types.ts';
import type { LadderStep } from '../ladder.ts';
import type { PipelineFormat, PipelineOptions, PipelineStats } from '../messages.ts';
import { Pipeline, type PipelineListener } from '../pipeline.ts';
import { until } from '../../../testing/until.ts';
import { pipelineOptions } from './options.ts';

// Far beyond the default: a loaded test machine must not change what these tests see.
const OPTIONS = pipelineOptions({ maxQueueMs: 5000 });

class Recorder implements PipelineListener {
  readonly frames: EncodedFrame[] = [];
  readonly formats: PipelineFormat[] = [];
  readonly errors: AppError[] = [];
  readonly wishes: string[] = [];
  readonly stats: PipelineStats[] = [];
  ready = 0;
  onReady(): void {
    this.ready += 1;
  }
  onFormat(format: PipelineFormat): void {
    this.formats.push(format);
  }
  onFrame(frame: EncodedFrame): void {
    this.frames.push(frame);
  }
  onNeedKeyframe(reason: string): void {
    this.wishes.push(reason);
  }
  readonly rungs: number[] = [];
  /** How many frames had come when the ladder moved first. */
  framesBeforeStep: number | undefined;
  readonly steps: LadderStep[] = [];
  onLadder(step: LadderStep): void {
    this.steps.push(step);
    this.rungs.push(step.rung);
    this.framesBeforeStep ??= this.frames.length;
  }
  onStats(stats: PipelineStats): void {
    this.stats.push(stats);
  }
  onError(error: AppError): void {
    this.errors.push(error);
  }
}

const open: Pipeline[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((pipeline) => pipeline.close()));
});

async function start(options: Partial<PipelineOptions> = {}): Promise<{ pipeline: Pipeline; recorder: Recorder }> {
  const recorder = new Recorder();
  const pipeline = new Pipeline({ ...OPTIONS, ...options }, recorder);
  open.push(pipeline);
  await until(() => recorder.ready > 0);
  return { pipeline, recorder };
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Units as if they had arrived just now. */
async function feed(pipeline: Pipeline, units: readonly AccessUnit[], intervalMs = 20): Promise<void> {
  for (const unit of units) {
    const now = monotonicUs();
    pipeline.push({ ...unit, receivedAtUs: now, assembledAtUs: now });
    await sleep(intervalMs);
  }
}

/** A unit when the frames of the one before have come: none is dropped, however busy the machine is. */
async function feedInTurn(
  pipeline: Pipeline,
  recorder: Recorder,
  units: readonly AccessUnit[],
  encoders = 1,
): Promise<void> {
  for (const unit of units) {
    const frames = recorder.frames.length + encoders;
    await feed(pipeline, [unit], 0);
    await until(() => recorder.frames.length >= frames, `${frames} frames`);
  }
}

it.each(['H264', 'VP8'] as const)('turns %s access units into four times larger H264 and VP8 frames', async (codec) => {
  const { pipeline, recorder } = await start();
  pipeline.setEncoders([
    { codec: 'H264', rendition: 'full', bitrateBps: 2_500_000 },
    { codec: 'VP8', rendition: 'full', bitrateBps: 2_500_000 },
    { codec: 'VP8', rendition: 'low', bitrateBps: 250_000 },
  ]);
  const units = makeStream({ codec, width: 320, height: 180, frames: 20 });
  await feedInTurn(pipeline, recorder, units, 3);
  expect(recorder.errors).toEqual([]);
  expect(recorder.formats).toEqual([
    {
      sourceWidth: 320,
      sourceHeight: 180,
      outputWidth: 1280,
      outputHeight: 720,
      presentationDelayMs: 10,
      reorderDelayMs: 0,
    },
  ]);
  for (const [resultCodec, rendition, width] of [
    ['H264', 'full', 1280],
    ['VP8', 'full', 1280],
    ['VP8', 'low', 320],
  ] as const) {
    const frames = recorder.frames.filter((frame) => frame.codec === resultCodec && frame.rendition === rendition);
    expect(frames.map((frame) => frame.mediaTime)).toEqual(units.map((unit) => unit.mediaTime));
    expect(frames.map((frame) => frame.width)).toEqual(units.map(() => width));
    expect(frames.map((frame) => frame.keyframe)).toEqual(units.map((_, index) => index === 0));
    for (const { trace } of frames) {
      expect(trace.decodedAtUs).toBeGreaterThan(trace.assembledAtUs);
      expect(trace.upscaledAtUs).toBeGreaterThan(trace.decodedAtUs);
      expect(trace.encodedAtUs).toBeGreaterThan(trace.upscaledAtUs);
    }
  }
});

const H264_FULL = { codec: 'H264', rendition: 'full', bitrateBps: 2_500_000 } as const;
const sizes = (frames: readonly EncodedFrame[]): string[] => [...new Set(frames.map((f) => `${f.width}x${f.height}`))];
const total = (recorder: Recorder): number => recorder.frames.length;

it('keeps its output size through a change of resolution of the same aspect, and keeps every frame', async () => {
  const { pipeline, recorder } = await start();
  pipeline.setEncoders([H264_FULL]);
  const units = [
    ...makeStream({ codec: 'VP8', width: 320, height: 180, frames: 6 }),
    ...makeStream({ codec: 'VP8', width: 640, height: 360, frames: 6, firstMediaTime: 90_000 }),
    ...makeStream({ codec: 'VP8', width: 160, height: 90, frames: 6, firstMediaTime: 180_000 }),
  ];
  await feedInTurn(pipeline, recorder, units);
  expect(recorder.frames.map((frame) => frame.mediaTime)).toEqual(units.map((unit) => unit.mediaTime));
  expect(sizes(recorder.frames)).toEqual(['1280x720']);
  expect(recorder.formats.map((format) => format.sourceWidth)).toEqual([320, 640, 160]);
  // The stream was not restarted: one keyframe, at the start.
  expect(recorder.frames.filter((frame) => frame.keyframe)).toHaveLength(1);
});

it('makes a larger result for a source that has grown for good, from a keyframe on, and keeps every frame', async () => {
  const { pipeline, recorder } = await start({ growAfterMs: 100 });
  pipeline.setEncoders([H264_FULL]);
  const units = [
    ...makeStream({ codec: 'VP8', width: 160, height: 90, frames: 6 }),
    ...makeStream({ codec: 'VP8', width: 320, height: 180, frames: 20, firstMediaTime: 90_000 }),
  ];
  await feed(pipeline, units);
  await until(() => total(recorder) >= units.length, 'all frames');
  expect(recorder.frames.map((frame) => frame.mediaTime)).toEqual(units.map((unit) => unit.mediaTime));
  expect(sizes(recorder.frames)).toEqual(['640x360', '1280x720']);
  expect(recorder.frames.find((frame) => frame.width === 1280)?.keyframe).toBe(true);
  expect(recorder.formats.at(-1)).toMatchObject({ sourceWidth: 320, outputWidth: 1280, outputHeight: 720 });
});

it('shows drawn pages by plain resize, with the third picture, and of at most 1280x720', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'pipeline-test-'));
  try {
    const file = path.join(folder, 'model.onnx');
    writeFileSync(file, planarModel(4));
    const model = { file, label: 'planar', valueRange: [0, 255] as const };
    const { pipeline, recorder } = await start({ upscaler: { kind: 'onnx', model, threads: 1, fallbacks: [] } });
    pipeline.setEncoders([H264_FULL]);
    const page = (frames: number): AccessUnit[] =>
      makeStream({ codec: 'H264', width: 480, height: 270, frames, paint: () => textPage(480, 270, { dot: 2 }) });
    const [first, second, ...rest] = page(12);
    await feedInTurn(pipeline, recorder, [first, second] as AccessUnit[]);
    expect([sizes(recorder.frames), recorder.steps]).toEqual([['1920x1080'], []]);
    await feedInTurn(pipeline, recorder, rest);
    expect(recorder.steps.map(({ rung, cause }) => [rung, cause])).toEqual([[1, 'content']]);
    expect(recorder.frames.at(-1)).toMatchObject({ width: 1280, height: 720 });
    expect(recorder.errors).toEqual([]);
    // Left to the model where the settings say so.
    const other = await start({
      upscaler: { kind: 'onnx', model, threads: 1, fallbacks: [] },
      spareDrawnContent: false,
    });
    other.pipeline.setEncoders([H264_FULL]);
    await feedInTurn(other.pipeline, other.recorder, page(6));
    expect([sizes(other.recorder.frames), other.recorder.steps]).toEqual([['1920x1080'], []]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it('works on the newest picture that has gathered, and its statistics go on while it is behind', async () => {
  const { pipeline, recorder } = await start({ maxQueueMs: 2000 });
  pipeline.setEncoders([H264_FULL]);
  const units = makeStream({ codec: 'VP8', width: 640, height: 360, frames: 150 });
  await feed(pipeline, units.slice(0, 2));
  await until(() => total(recorder) > 0, 'a frame');
  const now = monotonicUs();
  // Four seconds of video at once, more than can be worked on in time.
  for (const unit of units.slice(2, -1)) pipeline.push({ ...unit, receivedAtUs: now, assembledAtUs: now });
  // A slow machine decodes them for longer than any may wait; the last one arrives after that.
  await until(() => recorder.stats.at(-1)?.framesDecoded === 149, 'statistics meanwhile');
  await feed(pipeline, units.slice(-1));
  await until(() => recorder.frames.at(-1)?.mediaTime === units.at(-1)?.mediaTime, 'the last frame');
  expect(total(recorder)).toBeLessThan(100);
  const seconds = recorder.stats.length;
  await until(() => recorder.stats.length > seconds, 'statistics');
  const { drops, framesDecoded } = recorder.stats.at(-1) ?? {};
  expect(framesDecoded).toBe(150);
  expect((drops?.['queue-full'] ?? 0) + (drops?.stale ?? 0)).toBeGreaterThan(50);
});

it('opens a new stream when the aspect changes', async () => {
  const { pipeline, recorder } = await start();
  pipeline.setEncoders([H264_FULL]);
  await feed(pipeline, makeStream({ codec: 'H264', width: 320, height: 180, frames: 5 }));
  await feed(pipeline, makeStream({ codec: 'H264', width: 180, height: 320, frames: 5, firstMediaTime: 90_000 }));
  await until(() => recorder.frames.some((frame) => frame.mediaTime === 90_000 + 4 * 3000), 'the last frame');
  expect(sizes(recorder.frames)).toEqual(['1280x720', '720x1280']);
  expect(recorder.frames.find((frame) => frame.width === 720)?.keyframe).toBe(true);
  expect(recorder.formats.at(-1)).toMatchObject({ outputWidth: 720, outputHeight: 1280 });
});

it('makes even sides of an odd product, and a low rendition of the source size', async () => {
  const { pipeline, recorder } = await start({ upscaler: { kind: 'resize', scale: 1.5, filter: 'bicubic' } });
  pipeline.setEncoders([H264_FULL, { codec: 'VP8', rendition: 'low', bitrateBps: 200_000 }]);
  await feedInTurn(pipeline, recorder, makeStream({ codec: 'VP8', width: 98, height: 54, frames: 4 }), 2);
  expect(recorder.errors).toEqual([]);
  // 98 x 1.5 = 147 and 54 x 1.5 = 81.
  expect(sizes(recorder.frames).sort()).toEqual(['148x82', '98x54']);
});

it('goes on after garbage: one error, one wish for a keyframe, then the next keyframe plays', async () => {
  const { pipeline, recorder } = await start();
  pipeline.setEncoders([H264_FULL]);
  const units = makeStream({ codec: 'H264', width: 320, height: 180, frames: 12, keyframes: [8] });
  const garbage = { ...(units[4] as AccessUnit), data: new Uint8Array(500).fill(0xa5) };
  await feed(pipeline, [...units.slice(0, 4), garbage, ...units.slice(5)]);
  await until(() => recorder.frames.some((frame) => frame.mediaTime === 11 * 3000), 'the last frame');
  expect(recorder.errors.map((error) => [error.code, error.scope])).toEqual([['media.decode', 'frame']]);
  expect(recorder.wishes.length).toBeGreaterThan(0);
  expect(recorder.frames.map((frame) => frame.mediaTime / 3000)).toEqual([0, 1, 2, 3, 8, 9, 10, 11]);
  await until(() => (recorder.stats.at(-1)?.drops['decode-error'] ?? 0) > 0, 'statistics');
  expect(recorder.stats.at(-1)?.drops).toEqual({ 'decode-error': 1, 'awaiting-keyframe': 3 });
});

it('informs a publisher that is too large, and reports nothing else', async () => {
  const { pipeline, recorder } = await start({ maxSourcePixels: 320 * 192 });
  pipeline.setEncoders([H264_FULL]);
  await feed(pipeline, makeStream({ codec: 'VP8', width: 640, height: 360, frames: 1 }));
  await until(() => recorder.errors.length > 0, 'the error');
  expect(recorder.errors[0]).toMatchObject({ code: 'media.unsupported', scope: 'stream' });
  expect(recorder.frames).toEqual([]);
});

it('makes a keyframe with the next frame when asked, on the asked encoder only', async () => {
  const { pipeline, recorder } = await start();
  pipeline.setEncoders([H264_FULL, { codec: 'VP8', rendition: 'full', bitrateBps: 2_500_000 }]);
  const units = makeStream({ codec: 'H264', width: 320, height: 180, frames: 10 });
  await feedInTurn(pipeline, recorder, units.slice(0, 5), 2);
  pipeline.requestKeyframe('VP8', 'full');
  pipeline.requestKeyframe('VP8', 'full');
  await feedInTurn(pipeline, recorder, units.slice(5), 2);
  const keyframes = (codec: string): number[] =>
    recorder.frames.filter((f) => f.codec === codec && f.keyframe).map((f) => f.mediaTime / 3000);
  expect(keyframes('H264')).toEqual([0]);
  expect(keyframes('VP8')).toEqual([0, 5]);
});

it('opens and closes encoders while it runs; without any it drops pictures as no-viewer', async () => {
  const { pipeline, recorder } = await start();
  const units = makeStream({ codec: 'H264', width: 320, height: 180, frames: 12 });
  await feed(pipeline, units.slice(0, 3));
  // The format is known before anybody watches.
  await until(() => recorder.formats.length > 0, 'the format');
  pipeline.setEncoders([H264_FULL]);
  await feedInTurn(pipeline, recorder, units.slice(3, 6));
  pipeline.setEncoders([]);
  await feed(pipeline, units.slice(6, 9));
  pipeline.setEncoders([H264_FULL]);
  await feedInTurn(pipeline, recorder, units.slice(9));
  await until(() => recorder.stats.at(-1)?.framesEncoded === 6, 'statistics');
  expect(recorder.frames.map((frame) => frame.mediaTime / 3000)).toEqual([3, 4, 5, 9, 10, 11]);
  expect(recorder.frames.map((frame) => frame.keyframe)).toEqual([true, false, false, true, false, false]);
  expect(recorder.stats.at(-1)).toMatchObject({ framesDecoded: 12, framesUpscaled: 6, drops: { 'no-viewer': 6 } });
  expect(recorder.formats).toHaveLength(1);
});

it('plays on after the publisher went and came back with another codec', async () => {
  const { pipeline, recorder } = await start();
  pipeline.setEncoders([H264_FULL]);
  await feedInTurn(pipeline, recorder, makeStream({ codec: 'H264', width: 320, height: 180, frames: 4 }));
  pipeline.reset();
  await feedInTurn(
    pipeline,
    recorder,
    makeStream({ codec: 'VP8', width: 320, height: 180, frames: 4, firstMediaTime: 90_000 }),
  );
  expect(recorder.frames.filter((frame) => frame.keyframe)).toHaveLength(1);
});

it('restarts a worker that died, with its encoders, and reports it', async () => {
  const { pipeline, recorder } = await start();
  pipeline.setEncoders([H264_FULL]);
  const units = makeStream({ codec: 'H264', width: 320, height: 180, frames: 4 });
  await feedInTurn(pipeline, recorder, units);
  // A defect in the thread: a codec that there is not.
  await feed(pipeline, [{ ...(units[0] as AccessUnit), codec: 'none' as 'H264' }]);
  await until(() => recorder.errors.length > 0, 'the report');
  expect(recorder.errors[0]).toMatchObject({ code: 'pipeline.crashed', scope: 'stream', retryable: true });
  await until(() => recorder.ready === 2, 'the second start');
  expect(recorder.wishes.length).toBeGreaterThan(0);
  await feedInTurn(
    pipeline,
    recorder,
    makeStream({ codec: 'H264', width: 320, height: 180, frames: 4, firstMediaTime: 90_000 }),
  );
  expect(recorder.frames[4]?.keyframe).toBe(true);
});

it('runs an ONNX model in its own thread beside the encoders, and closes both', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'pipeline-test-'));
  try {
    const file = path.join(folder, 'model.onnx');
    writeFileSync(file, planarModel(4));
    const model = { file, label: 'planar', valueRange: [0, 255] as const };
    const { pipeline, recorder } = await start({ upscaler: { kind: 'onnx', model, threads: 1, fallbacks: [] } });
    pipeline.setEncoders([H264_FULL, { codec: 'VP8', rendition: 'low', bitrateBps: 200_000 }]);
    const units = makeStream({ codec: 'VP8', width: 320, height: 180, frames: 8 });
    // One at a time: a frame that finds the model busy may be replaced by the next.
    for (const [index, unit] of units.entries()) {
      await feed(pipeline, [unit], 0);
      await until(() => total(recorder) >= 2 * (index + 1), `frame ${index}`);
    }
    expect(recorder.frames.map((frame) => `${frame.codec} ${frame.width}`).slice(0, 2)).toEqual([
      'H264 1280',
      'VP8 320',
    ]);
    expect(recorder.errors).toEqual([]);
    await pipeline.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it('says what is wrong with a model that cannot be loaded', async () => {
  const recorder = new Recorder();
  const model = { file: '/nonexistent/model.onnx', label: 'x', valueRange: [0, 1] as const };
  const pipeline = new Pipeline({ ...OPTIONS, upscaler: { kind: 'onnx', model, threads: 1, fallbacks: [] } }, recorder);
  open.push(pipeline);
  await until(() => recorder.errors.length > 0, 'the error');
  expect(recorder.errors[0]).toMatchObject({ code: 'model.invalid' });
  expect(recorder.errors[0]?.message).toContain('/nonexistent/model.onnx');
});

it('a model file damaged meanwhile: the newcomer gets model.invalid, the running stream goes on, the next one works', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'pipeline-test-'));
  try {
    const file = path.join(folder, 'model.onnx');
    const good = planarModel(2);
    writeFileSync(file, good);
    const sha256 = createHash('sha256').update(good).digest('hex');
    const model = { file, label: 'planar', valueRange: [0, 255] as const, sha256 };
    const upscaler = { kind: 'onnx', model, threads: 1, fallbacks: [] } as const;
    const running = await start({ upscaler });
    running.pipeline.setEncoders([H264_FULL]);
    const [key, next] = makeStream({ codec: 'VP8', width: 160, height: 96, frames: 2 }) as [AccessUnit, AccessUnit];
    for (const damage of [good.slice(0, 100), good.map((byte, index) => (index === 50 ? byte ^ 255 : byte)), []]) {
      writeFileSync(file, Uint8Array.from(damage));
      const newcomer = new Recorder();
      open.push(new Pipeline({ ...OPTIONS, upscaler }, newcomer));
      await until(() => newcomer.errors.length > 0, 'the error');
      expect(newcomer.errors[0]?.code).toBe('model.invalid');
    }
    await feed(running.pipeline, [key, next]);
    await until(() => total(running.recorder) > 0, 'a frame of the running stream');
    writeFileSync(file, good);
    const after = await start({ upscaler });
    after.pipeline.setEncoders([H264_FULL]);
    await feed(after.pipeline, [key, next]);
    await until(() => total(after.recorder) > 0, 'a frame of the stream after');
    expect([...running.recorder.errors, ...after.recorder.errors]).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it('informs the publisher of a 16x16383 picture once, as a stream error', async () => {
  const { pipeline, recorder } = await start();
  pipeline.setEncoders([H264_FULL]);
  const [key] = makeStream({ codec: 'VP8', width: 160, height: 96, frames: 1 }) as [AccessUnit];
  const data = Uint8Array.from(key.data);
  // RFC 6386 section 9.1: 14 bits of width, then of height.
  data.set([16, 0, 0xff, 0x3f], 6);
  await feed(pipeline, [{ ...key, data }]);
  await until(() => recorder.errors.length > 0, 'the error');
  expect(recorder.errors.map(({ code, scope }) => `${code} ${scope}`)).toEqual(['media.unsupported stream']);
});

it('reports what its listener throws instead of ending the process', async () => {
  const { pipeline, recorder } = await start();
  recorder.onFrame = () => {
    throw new TypeError('no viewer');
  };
  pipeline.setEncoders([H264_FULL]);
  await feed(pipeline, makeStream({ codec: 'VP8', width: 64, height: 48, frames: 10 }));
  await until(() => recorder.errors.length > 0, 'an error');
  expect(recorder.errors[0]).toMatchObject({ code: 'internal', message: 'no viewer' });
});

it('closes twice, in the middle of work, and takes nothing afterwards', async () => {
  const { pipeline, recorder } = await start();
  pipeline.setEncoders([H264_FULL]);
  for (const unit of makeStream({ codec: 'H264', width: 320, height: 180, frames: 30 })) pipeline.push(unit);
  await Promise.all([pipeline.close(), pipeline.close()]);
  const seen = total(recorder);
  pipeline.push(makeStream({ codec: 'H264', width: 320, height: 180, frames: 1 })[0] as AccessUnit);
  await sleep(50);
  expect(total(recorder)).toBe(seen);
  expect(recorder.errors).toEqual([]);
});

it('holds at most 16 MiB while its thread loads, counts the rest, and begins with the last keyframe', async () => {
  const recorder = new Recorder();
  const pipeline = new Pipeline(OPTIONS, recorder);
  open.push(pipeline);
  pipeline.setEncoders([H264_FULL]);
  const [key, ...rest] = makeStream({ codec: 'VP8', width: 320, height: 180, frames: 10 }) as [
    AccessUnit,
    ...AccessUnit[],
  ];
  const large: AccessUnit = { ...key, keyframe: false, data: new Uint8Array(1024 * 1024) };
  // In one turn of this thread: the other has taken nothing yet.
  pipeline.push(key);
  const before = process.memoryUsage().arrayBuffers;
  for (let unit = 0; unit < 300; unit += 1) pipeline.push(large);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40 * 1024 * 1024);
  expect(recorder.wishes).toHaveLength(1);
  pipeline.push(key);
  await until(() => recorder.ready > 0, 'the thread');
  await feed(pipeline, rest);
  await until(() => recorder.frames.length > 0, 'frames that refer to the last keyframe');
  const stats = recorder.stats.length;
  await until(() => recorder.stats.length > stats, 'statistics');
  expect(recorder.stats.at(-1)?.drops.stale).toBe(301);
  expect(recorder.errors).toEqual([]);
});

it('goes down the ladder under overload, drops by name, and its delay does not grow', async () => {
  const { pipeline, recorder } = await start({
    upscaler: { kind: 'resize', scale: 8, filter: 'lanczos' },
    maxQueueMs: 100,
  });
  pipeline.setEncoders([{ ...H264_FULL, bitrateBps: 20_000_000 }]);
  // 4K results ten times faster than any camera: no machine keeps up.
  const [key, ...rest] = makeStream({ codec: 'VP8', width: 640, height: 360, frames: 60 });
  const startedAt = Date.now();
  await feed(pipeline, [key as AccessUnit], 1);
  for (let round = 0; recorder.rungs.length === 0 && Date.now() - startedAt < 40_000; round += 1) {
    const offset = (round * rest.length + 1) * 300;
    await feed(
      pipeline,
      rest.map((unit, index) => ({ ...unit, mediaTime: offset + index * 300 })),
      2,
    );
  }
  expect(recorder.rungs[0]).toBe(1);
  const seen = recorder.stats.length;
  await until(() => recorder.stats.length > seen, 'the statistics of that second');
  const drops = recorder.stats.at(-1)?.drops ?? {};
  expect((drops.stale ?? 0) + (drops['queue-full'] ?? 0)).toBeGreaterThan(10);
  expect(Object.keys(drops).every((reason) => ['stale', 'queue-full'].includes(reason))).toBe(true);
  // Half of the frames' time up to the encoder's start is the budget and the work on themselves and on the frame before them: the
  // longest such work is this machine's measure.
  const works = recorder.frames.map(({ trace }) => trace.upscaledAtUs - trace.gatheredAtUs);
  const waits = recorder.frames.map(({ trace }) => trace.gatheredAtUs - trace.assembledAtUs);
  expect(quantile(waits.slice(waits.length >> 1), 0.5)).toBeLessThan(100_000 + 2 * Math.max(...works));
  await pipeline.close();
});

it('leaves a model that this machine cannot hold with its first dozen frames', async () => {
  const file = path.join(import.meta.dirname, '../../../models/nano/nano.onnx');
  const model = { file, label: 'nano', valueRange: [0, 255] as const };
  const { pipeline, recorder } = await start({
    // 1920x1080 on one thread: 60 ms a frame and more.
    upscaler: { kind: 'onnx', model, threads: 1, fallbacks: [] },
    maxQueueMs: 100,
  });
  pipeline.setEncoders([H264_FULL]);
  const units = makeStream({ codec: 'VP8', width: 480, height: 270, frames: 60 });
  // As long as it takes a busy machine to run a dozen.
  let number = 0;
  const feedNext = async (): Promise<void> => {
    const unit = units[number % units.length] as AccessUnit;
    // The look asks for the publisher's rate, 30 a second by its clock, not for how fast this loop is.
    await feed(pipeline, [{ ...unit, mediaTime: number * 3000 }], 33);
    number += 1;
  };
  while (recorder.rungs.length === 0 && number < 900) await feedNext();
  expect(recorder.rungs).toEqual([1]);
  expect(recorder.framesBeforeStep).toBeLessThanOrEqual(12);
  // A plain resize is no reason for a picture of 1920x1080.
  while (recorder.frames.at(-1)?.width !== 1280 && number < 900) await feedNext();
  expect(recorder.frames.at(-1)).toMatchObject({ width: 1280, height: 720 });
  await pipeline.close();
});
