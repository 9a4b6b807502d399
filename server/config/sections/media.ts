import { z } from 'zod';
import { count, positive } from './common.ts';

export const mediaSection = z
  .strictObject({
    jitterMs: z.number().int().min(10).max(1000).default(80).describe('how long a missing packet is waited for'),
    maxQueueMs: z
      .number()
      .int()
      .min(5)
      .max(2000)
      .default(100)
      .describe('a frame that waited longer in front of the upscaler is dropped as `stale`'),
    minBitrateBps: count.default(300_000).describe('least bit rate of the result, which follows what viewers report'),
    startBitrateBps: count.default(2_500_000).describe('bit rate that the result begins with'),
    maxBitrateBps: count.default(6_000_000).describe('highest bit rate of the result'),
    lowBitrateBps: count
      .default(250_000)
      .describe("bit rate of the rendition in the source's size, for viewers on thin links"),
    maxIngestBitrateBps: count
      .optional()
      .describe('highest bit rate that the answer offers to publishers; without it their own'),
    ingestStartBitrateBps: count
      .default(1_500_000)
      .describe('bit rate that the answer offers to publishers to begin with'),
    keyframeIntervalSeconds: positive
      .max(60)
      .default(10)
      .describe('longest distance of keyframes; joins get one at once'),
    keyframeMaxRatio: z
      .number()
      .min(2)
      .max(50)
      .default(8)
      .describe('a keyframe is at most this many times an average frame, so that a join does not freeze the others'),
    audioDelayMs: z
      .union([z.literal('auto'), z.number().int().min(0).max(5000)])
      .default('auto')
      .describe("how long sound waits for its pictures; `auto`: the model's presentation delay"),
    ladder: z.boolean().default(true).describe('under overload step down to cheaper rungs'),
    growAfterMs: z
      .number()
      .int()
      .min(0)
      .max(600_000)
      .default(3000)
      .describe(
        'a source that stayed larger for this long gets a larger result, one that stayed smaller for four times as long a smaller one; 0: the first size stays',
      ),
    spareDrawnContent: z
      .boolean()
      .default(true)
      .describe(
        'screens, slides and text are enlarged by plain resize where the model would make thin strokes thinner',
      ),
  })
  .superRefine(({ minBitrateBps, maxBitrateBps }, context) => {
    if (minBitrateBps <= maxBitrateBps) return;
    context.addIssue({ code: 'custom', path: ['minBitrateBps'], message: 'must not exceed media.maxBitrateBps' });
  })
  .describe("A frame's way: waiting times, bit rates, keyframes, overload");
