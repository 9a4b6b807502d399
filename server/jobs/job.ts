import { z } from 'zod';

/** What the result is, by its ending: a film, or a picture. */
export const JOB_RESULTS = ['mp4', 'mkv', 'webm', 'mov', 'png', 'jpg', 'webp'] as const;
export type JobResult = (typeof JOB_RESULTS)[number];

/** What the client asks for. */
export interface JobRequest {
  /** For people, and for the name under which the result is saved. */
  readonly name: string;
  readonly result: JobResult;
  /** Size of the result / size of the source; for models that do not fix it. */
  readonly scale: number;
}

/** One file as a runner gets it. */
export interface JobTask {
  readonly input: string;
  /** Where the result appears once it is complete. */
  readonly output: string;
  readonly scale: number;
  /** It ends the work; run() then rejects. */
  readonly signal: AbortSignal;
  /** @param total undefined: unknown */
  readonly onProgress: (frames: number, total: number | undefined) => void;
}

export interface JobOutcome {
  readonly frames: number;
  readonly width: number;
  readonly height: number;
  readonly notices: readonly string[];
}

/** Upscales a file in a process of its own, at the least priority. @throws AppError */
export type RunJob = (task: JobTask) => Promise<JobOutcome>;

const error = z.object({ code: z.string(), message: z.string(), remedy: z.string() });

/** A job as its folder keeps it, `job.json`: what a restart needs. */
export const jobRecord = z.object({
  id: z.string(),
  name: z.string(),
  result: z.enum(JOB_RESULTS),
  scale: z.number(),
  bytes: z.number(),
  createdAt: z.string(),
  /** Starts of the work: what ends the server twice is not begun a third time. */
  starts: z.number(),
  state: z.enum(['queued', 'running', 'done', 'failed']),
  endedAt: z.string().optional(),
  outcome: z
    .object({ frames: z.number(), width: z.number(), height: z.number(), notices: z.array(z.string()).readonly() })
    .optional(),
  error: error.optional(),
});

export type JobRecord = z.infer<typeof jobRecord>;

/** What a client reads of its job. */
export interface JobStatus {
  readonly id: string;
  readonly name: string;
  readonly state: JobRecord['state'];
  readonly bytes: number;
  readonly createdAt: string;
  /** Of queued jobs: how many come before it. */
  readonly before: number;
  readonly framesDone: number;
  readonly framesTotal: number | null;
  /** Once it is done. */
  readonly result: { readonly url: string; readonly width: number; readonly height: number } | null;
  readonly notices: readonly string[];
  /** Once it has failed. */
  readonly error: { readonly code: string; readonly message: string; readonly remedy: string } | null;
  /** When it is deleted, once it has ended. */
  readonly expiresAt: string | null;
}
