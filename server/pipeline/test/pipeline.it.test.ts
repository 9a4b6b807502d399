import { afterEach, expect, it } from 'vitest';
import { makeStream } from '../../codec/test/material.ts';
import type { AppError } from '../../errors.ts';
import { monotonicUs } from '../../media/clock.ts';
import type { AccessUnit, EncodedFrame } from '../../media/types.ts';
import type { PipelineFormat, PipelineOptions, PipelineStats } from '../messages.ts';
import { Pipeline, type PipelineListener } from '../pipeline.ts';

const OPTIONS: PipelineOptions = {
  name: 'test',
  upscaler: { kind: 'resize', scale: 4, filter: 'lanczos' },
  maxQueueMs: 100,
  maxSourcePixels: 1920 * 1088,
  keyframeIntervalSeconds: 10,
  keyframeMaxRatio: 8,
  ladder: true,
};

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
  onLadder(): void {
    // Not of interest here.
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

async function until(condition: () => boolean, what = 'condition'): Promise<void> {
  for (let tries = 0; tries < 1000; tries += 1) {
    if (condition()) return;
    await sleep(10);
  }
  throw new Error(`timed out waiting for ${what}`);
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

it.each(['H264', 'VP8'] as const)('turns %s access units into four times larger H264 and VP8 frames', async (codec) => {
  const { pipeline, recorder } = await start();
  pipeline.setEncoders([
    { codec: 'H264', rung: 'full', bitrateBps: 2_500_000 },
    { codec: 'VP8', rung: 'full', bitrateBps: 2_500_000 },
    { codec: 'VP8', rung: 'low', bitrateBps: 250_000 },
  ]);
  const units = makeStream({ codec, width: 320, height: 180, frames: 20 });
  await feed(pipeline, units);
  await until(() => recorder.frames.length >= 60, '60 frames');
  expect(recorder.errors).toEqual([]);
  expect(recorder.formats).toEqual([{ sourceWidth: 320, sourceHeight: 180, outputWidth: 1280, outputHeight: 720 }]);
  for (const [resultCodec, rung, width] of [
    ['H264', 'full', 1280],
    ['VP8', 'full', 1280],
    ['VP8', 'low', 320],
  ] as const) {
    const frames = recorder.frames.filter((frame) => frame.codec === resultCodec && frame.rung === rung);
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
