import { writeFileSync } from 'node:fs';
import { availableParallelism, constants, setPriority } from 'node:os';
import { childEnvironment } from '../access/child-environment.ts';
import type { Config } from '../config/config.ts';
import type { JobOutcome, JobTask, RunJob } from '../jobs/job.ts';
import { upscaleIsolated } from './isolated-upscale.ts';
import type { StopSignal } from './stop-signals.ts';

/** Where libraries lie that were built elsewhere; no secrets. */
const LIBRARIES = ['FLASHVSR_ADDON', 'FLASHVSR_CUDA_LIBRARY'] as const;
/** As `upscale` has them. */
const CRF = 18;
const PRESET = 'fast';

/** Jobs of a server: what `upscale` does in its process of its own, at the least priority, for a file of a stranger. */
export function jobRunner({ model, jobs }: Pick<Config, 'model' | 'jobs'>): RunJob {
  // Live streams have the processor whenever they want it; an engine in one job's process still takes memory for each thread.
  const threads = Math.max(1, Math.floor(availableParallelism() / 2));
  return async ({ input, output, scale, signal, onProgress }: JobTask): Promise<JobOutcome> => {
    const progress = (total: number | undefined) => ({
      update: (frames: number) => onProgress(frames, total),
      kept: (frames: number) => onProgress(frames, total),
      finish: (frames: number) => onProgress(frames, frames),
      say: () => undefined,
      stop: () => undefined,
    });
    const stop = new AbortStop(signal);
    try {
      const { frames, width, height, notices } = await upscaleIsolated(
        input,
        output,
        {
          model: { ...model, name: jobs.model, device: jobs.device, scale, threads },
          ...{ crf: CRF, preset: PRESET, overwrite: true, resume: true, progress },
        },
        { signals: stop, env: environment(), onChild: ({ pid }) => pid !== undefined && giveWay(pid) },
      );
      return { frames, width, height, notices };
    } finally {
      stop.close();
    }
  };
}

/** An AbortSignal in the place of the signals that end the command line. */
class AbortStop {
  signal: StopSignal | undefined;
  readonly #source: AbortSignal;
  readonly #onStop = new Set<(signal: StopSignal, force: boolean) => void>();
  readonly #onAbort = (): void => {
    this.signal = 'SIGTERM';
    for (const stop of this.#onStop) stop('SIGTERM', false);
  };

  constructor(source: AbortSignal) {
    this.#source = source;
    if (source.aborted) this.signal = 'SIGTERM';
    source.addEventListener('abort', this.#onAbort);
  }

  add(stop: (signal: StopSignal, force: boolean) => void): () => void {
    this.#onStop.add(stop);
    return () => void this.#onStop.delete(stop);
  }

  close(): void {
    this.#source.removeEventListener('abort', this.#onAbort);
  }
}

/** Before it has threads, which have their maker's priority. Where the system does not take it, the job runs all the same. */
function giveWay(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_LOW);
    // When memory runs out, the job ends and not the server (Linux, proc(5)).
    writeFileSync(`/proc/${pid}/oom_score_adj`, '1000');
  } catch {
    // Not Linux, or gone already.
  }
}

function environment(): NodeJS.ProcessEnv {
  const libraries = LIBRARIES.flatMap((name) => (name in process.env ? [[name, process.env[name]]] : []));
  return { ...childEnvironment(), ...(Object.fromEntries(libraries) as NodeJS.ProcessEnv) };
}
