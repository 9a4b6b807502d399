import { z } from 'zod';
import { positive } from './common.ts';

/** The life of a broadcast. */
export const broadcastSection = z.strictObject({
  /** How long a name stays reserved for its resume token after the publisher is gone. */
  resumeSeconds: positive.max(3600).default(60),
  /** No picture for this long: state `paused`. */
  pauseAfterMs: z.number().int().min(500).default(3000),
});
