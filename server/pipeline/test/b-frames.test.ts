import { afterEach, expect, it, vi } from 'vitest';
import { makeBFrames } from '../../../testing/b-frames.ts';
import { until } from '../../../testing/until.ts';
import { monotonicUs } from '../../media/clock.ts';
import { PipelineCore } from '../core.ts';
import type { FromPipeline } from '../messages.ts';
import { ReorderDelay } from '../reorder-delay.ts';
import { pipelineOptions } from './options.ts';

const OPTIONS = pipelineOptions({
  upscaler: { kind: 'resize', scale: 1, filter: 'bicubic' },
  maxQueueMs: 60_000,
  ladder: false,
});
const FRAMES = 30;
const RESIZE_MS = 10;

let core: PipelineCore | undefined;
afterEach(async () => {
  vi.useRealTimers();
  await core?.close();
  core = undefined;
});

/** A pipeline that has taken all units; the second that its statistics need has passed. */
async function run(clock: 'pts' | 'dts', bFrames: number) {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const messages: FromPipeline[] = [];
  const pipeline = new PipelineCore(OPTIONS, (message) => messages.push(message));
  core = pipeline;
  await pipeline.start();
  pipeline.handle({ type: 'encoders', encoders: [{ codec: 'H264', rendition: 'full', bitrateBps: 500_000 }] });
  const all = <T extends FromPipeline['type']>(type: T) =>
    messages.filter((message): message is Extract<FromPipeline, { type: T }> => message.type === type);
  const units = makeBFrames({ frames: FRAMES, bFrames, pyramid: bFrames > 2, firstPts: 90_000 });
  const startedAtUs = monotonicUs();
  for (const [index, { data, keyframe, ...times }] of units.entries()) {
    const receivedAtUs = startedAtUs + index * 33_333;
    const unit = { codec: 'H264' as const, data, keyframe, mediaTime: times[clock], receivedAtUs };
    pipeline.handle({ type: 'accessUnit', unit: { ...unit, assembledAtUs: receivedAtUs + 1 } });
  }
  await until(() => all('frame').length > 0, 'the first picture, for which the upscaler opens its stream');
  vi.advanceTimersByTime(1000);
  pipeline.handle({ type: 'reset' });
  await until(() => all('frame').length === FRAMES, 'all pictures, the last ones with the reset');
  const stats = all('stats').at(-1)?.stats;
  return { times: all('frame').map(({ frame }) => frame.mediaTime), format: all('format').at(-1)?.format, stats };
}

it.each([
  ['pts', 2, 33, 33],
  ['pts', 3, 67, 67],
  ['dts', 2, 33, 0],
  ['dts', 3, 67, 0],
  ['pts', 0, 0, 0],
] as const)(
  '%s, %d B-frames: every picture leaves in order; its wait is shown, audio is delayed by what pictures are behind',
  async (clock, bFrames, reorderMs, behindMs) => {
    const { times, format, stats } = await run(clock, bFrames);
    expect(times).toEqual([...new Set(times)].sort((a, b) => a - b));
    // Decoding times are recognised with the first pictures.
    expect(times.slice(2)).toEqual(Array.from({ length: FRAMES - 2 }, (_, index) => 90_000 + (index + 2) * 3000));
    for (const said of [format, stats]) {
      expect(said).toMatchObject({ reorderDelayMs: reorderMs, presentationDelayMs: RESIZE_MS + behindMs });
    }
    expect(stats?.drops).toEqual({});
  },
);

it('follows the depth at once, and a measured frame rate only when it has really changed', () => {
  const delay = new ReorderDelay();
  expect(delay.follow({ frames: 0, clock: 'presentation' }, () => 30)).toBe(false);
  expect(delay.follow({ frames: 2, clock: 'presentation' }, () => 30)).toBe(true);
  expect(delay.follow({ frames: 2, clock: 'presentation' }, () => 29)).toBe(false);
  expect([delay.delayMs, delay.behindMs]).toEqual([67, 67]);
  expect(delay.follow({ frames: 2, clock: 'decoding' }, () => 30)).toBe(true);
  expect([delay.delayMs, delay.behindMs]).toEqual([67, 0]);
  expect(delay.follow({ frames: 2, clock: 'decoding' }, () => 25)).toBe(true);
  expect(delay.delayMs).toBe(80);
  expect(delay.follow({ frames: 0, clock: 'presentation' }, () => 25)).toBe(true);
  expect(delay.delayMs).toBe(0);
});
