import { z } from 'zod';
import { count, positive } from './common.ts';

/** A frame's way: waiting times, bit rates, keyframes, overload. */
export const mediaSection = z
  .strictObject({
    jitterMs: z.number().int().min(10).max(1000).default(80),
    /** A frame that waited longer than this before the upscaler could start on it is dropped as `stale`. */
    maxQueueMs: z.number().int().min(5).max(2000).default(100),
    minBitrateBps: count.default(300_000),
    startBitrateBps: count.default(2_500_000),
    maxBitrateBps: count.default(6_000_000),
    lowBitrateBps: count.default(250_000),
    maxIngestBitrateBps: count.optional(),
    ingestStartBitrateBps: count.default(1_500_000),
    /** A keyframe at most this far apart, as a safety net; keyframes on demand are the normal way. */
    keyframeIntervalSeconds: positive.max(60).default(10),
    /** Upper bound of a keyframe's size as a multiple of the average frame (VBV), so that a join does not freeze the others. */
    keyframeMaxRatio: z.number().min(2).max(50).default(8),
    /** Audio delay: `auto` is the model's presentation delay. */
    audioDelayMs: z.union([z.literal('auto'), z.number().int().min(0).max(5000)]).default('auto'),
    /** False: never leave rung 0. */
    ladder: z.boolean().default(true),
    /** A source that stayed larger for this long gets a larger result; 0: the first size stays. */
    growAfterMs: z.number().int().min(0).max(600_000).default(3000),
  })
  .superRefine(({ minBitrateBps, maxBitrateBps }, context) => {
    if (minBitrateBps <= maxBitrateBps) return;
    context.addIssue({ code: 'custom', path: ['minBitrateBps'], message: 'must not exceed media.maxBitrateBps' });
  });
