import { z } from 'zod';
import { count, positive } from './common.ts';

export const jobsSection = z
  .strictObject({
    folder: z
      .string()
      .min(1)
      .exactOptional()
      .describe("where files that were sent to `/api/jobs` and their results lie; the user's state folder without it"),
    model: z
      .string()
      .min(1)
      .default('auto')
      .describe('the model of jobs, as `model.name`; `auto`: the best that `jobs.device` runs'),
    device: z
      .enum(['cpu', 'gpu', 'cuda', 'reference'])
      .default('cpu')
      .describe('where jobs run, as `model.device`; a GPU that live streams use is shared with them then'),
    maxBytes: count.default(2_000_000_000).describe('size of a file'),
    maxJobs: count
      .max(1000)
      .default(16)
      .describe('jobs that wait, run or keep a result; one runs at a time, others are refused'),
    maxSeconds: positive
      .max(7 * 86_400)
      .default(3600)
      .describe('a job that runs for longer is ended'),
    uploadSeconds: positive
      .max(86_400)
      .default(3600)
      .describe('how long sending a file, or fetching a result, may take'),
    keepSeconds: positive
      .max(30 * 86_400)
      .default(86_400)
      .describe('a job that has ended is deleted with its files after this'),
  })
  .describe('Files that are upscaled by /api/jobs, beside live streams (docs/admin.md)');
