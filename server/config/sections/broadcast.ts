import { z } from 'zod';
import { positive } from './common.ts';

export const broadcastSection = z
  .strictObject({
    resumeSeconds: positive
      .max(3600)
      .default(60)
      .describe('how long a name waits for its publisher to come back with its token'),
    pauseAfterMs: z.number().int().min(500).default(3000).describe('no picture for this long: state `paused`'),
  })
  .describe('The life of a broadcast');
