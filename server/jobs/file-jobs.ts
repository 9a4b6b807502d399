import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { JobRecord, JobRequest, JobStatus, RunJob } from './job.ts';
import { JobStore } from './job-store.ts';
import { receiveFile, tooLarge } from './upload.ts';

export interface FileJobsOptions {
  readonly folder: string;
  readonly settings: Pick<Config['jobs'], 'maxBytes' | 'maxJobs' | 'maxSeconds' | 'keepSeconds'>;
  readonly run: RunJob;
  readonly log: Pick<Log, 'info' | 'warn'>;
  readonly now?: () => number;
}

/** A job that ended the server this often is not begun again. */
const MOST_STARTS = 2;
const SWEEP_MS = 60_000;
/** The runner kills what does not end by itself; a server that stops waits no longer than this. */
const STOP_MS = 3000;

interface Job {
  record: JobRecord;
  framesDone: number;
  framesTotal: number | undefined;
}

interface Running {
  readonly job: Job;
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/**
 * Files that clients send, upscaled one after the other beside the live streams. Everything is bounded: the number of jobs, the size of a
 * file, its time, and how long a result is kept. Jobs outlast the server: those that waited go on waiting, one that ran begins again
 * where its finished frames end.
 */
export class FileJobs {
  readonly #options: FileJobsOptions;
  readonly #store: JobStore;
  readonly #now: () => number;
  /** In the order in which they came. */
  readonly #jobs = new Map<string, Job>();
  /** Files on their way here. */
  #uploads = 0;
  #running: Running | undefined;
  #closed = false;
  readonly #sweeper: NodeJS.Timeout;

  constructor(options: FileJobsOptions) {
    this.#options = options;
    this.#store = new JobStore(options.folder);
    this.#now = options.now ?? Date.now;
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_MS).unref();
  }

  /** Takes up what a server before this one has left. A folder that cannot be read is one without jobs; the log says why. */
  resume(): void {
    try {
      const found = this.#store.read().sort((a, b) => a.createdAt.localeCompare(b.createdAt));
      for (const record of found) this.#jobs.set(record.id, { record, framesDone: 0, framesTotal: undefined });
    } catch (thrown) {
      const { code, message } = AppError.from(thrown);
      this.#options.log.warn({ code, reason: message }, 'jobs.unreadable');
      return;
    }
    for (const job of this.#jobs.values()) {
      if (job.record.state !== 'running') continue;
      if (job.record.starts < MOST_STARTS) this.#change(job, { state: 'queued' });
      else this.#fail(job, new AppError('job.interrupted', 'The server ended twice while it worked on this file.'));
    }
    this.sweep();
    this.#next();
  }

  /**
   * Takes a file. @param length as the client announces it; undefined: it does not
   * @throws AppError job.full | request.tooLarge | request.malformed | job.disk | file.unwritable | server.draining
   */
  async add(request: JobRequest, from: Readable, length: number | undefined): Promise<JobStatus> {
    const { maxBytes, maxJobs } = this.#options.settings;
    if (this.#closed) throw new AppError('server.draining', 'The server is stopping and takes no files.');
    if (length !== undefined && length > maxBytes) throw tooLarge(maxBytes);
    this.sweep();
    if (this.#jobs.size + this.#uploads >= maxJobs) {
      throw new AppError('job.full', `All ${maxJobs} places for jobs are taken (jobs.maxJobs).`);
    }
    const id = randomBytes(12).toString('hex');
    this.#uploads += 1;
    try {
      this.#store.make(id, length ?? 0);
      const bytes = await receiveFile(from, this.#store.inputOf(id), maxBytes);
      if (this.#closed) throw new AppError('server.draining', 'The server is stopping and takes no files.');
      const createdAt = new Date(this.#now()).toISOString();
      const record: JobRecord = { id, ...request, bytes, createdAt, starts: 0, state: 'queued' };
      this.#store.write(record);
      this.#jobs.set(id, { record, framesDone: 0, framesTotal: undefined });
    } catch (thrown) {
      this.#store.remove(id);
      throw thrown;
    } finally {
      this.#uploads -= 1;
    }
    this.#options.log.info({ job: id, ...request }, 'job.queued');
    this.#next();
    return this.status(id);
  }

  list(): JobStatus[] {
    return [...this.#jobs.keys()].map((id) => this.status(id));
  }

  /** @throws AppError job.unknown */
  status(id: string): JobStatus {
    const { record, framesDone, framesTotal } = this.#find(id);
    const { name, state, bytes, createdAt, outcome, error = null } = record;
    const queued = [...this.#jobs.values()].filter((each) => each.record.state === 'queued');
    const place = queued.findIndex((each) => each.record.id === id);
    return {
      ...{ id, name, state, bytes, createdAt, error },
      before: place < 0 ? 0 : place + (this.#running === undefined ? 0 : 1),
      framesDone: outcome?.frames ?? framesDone,
      framesTotal: outcome?.frames ?? framesTotal ?? null,
      result:
        outcome === undefined ? null : { url: `/api/jobs/${id}/result`, width: outcome.width, height: outcome.height },
      notices: outcome?.notices ?? [],
      expiresAt: record.endedAt === undefined ? null : new Date(this.#expiryOf(record)).toISOString(),
    };
  }

  /** @throws AppError job.unknown | request.state */
  resultOf(id: string): { readonly path: string; readonly saveAs: string; readonly ending: string } {
    const { record } = this.#find(id);
    if (record.state !== 'done') {
      throw new AppError('request.state', `The job is ${record.state}: it has no result.`, {
        remedy: 'Ask for the job until its state is "done".',
      });
    }
    const stem = record.name.replace(/\.[A-Za-z0-9]{1,5}$/, '').replaceAll(/[^A-Za-z0-9._-]/g, '_');
    return {
      path: this.#store.resultOf(record),
      saveAs: `${stem || 'result'}.${record.result}`,
      ending: record.result,
    };
  }

  /** Ends it if it runs; resolves when its files are gone. @throws AppError job.unknown */
  async remove(id: string): Promise<void> {
    this.#find(id);
    this.#jobs.delete(id);
    const running = this.#running?.job.record.id === id ? this.#running : undefined;
    running?.abort.abort();
    await running?.ended;
    this.#store.remove(id);
    this.#options.log.info({ job: id }, 'job.removed');
  }

  /** Deletes what has been kept long enough: by a timer, by tests directly. */
  sweep(): void {
    for (const { record } of [...this.#jobs.values()]) {
      if (record.endedAt === undefined || this.#expiryOf(record) > this.#now()) continue;
      this.#jobs.delete(record.id);
      this.#store.remove(record.id);
    }
  }

  /** Ends the work; its jobs are taken up by the next start. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeper);
    this.#running?.abort.abort();
    await Promise.race([this.#running?.ended, delay(STOP_MS, undefined, { ref: false })]);
    this.#store.release();
  }

  #next(): void {
    if (this.#running !== undefined || this.#closed) return;
    const job = [...this.#jobs.values()].find(({ record }) => record.state === 'queued');
    if (job === undefined) return;
    const abort = new AbortController();
    const ended = this.#run(job, abort).finally(() => {
      this.#running = undefined;
      this.#next();
    });
    this.#running = { job, abort, ended };
  }

  /** Never rejects. */
  async #run(job: Job, abort: AbortController): Promise<void> {
    const { id, scale } = job.record;
    const { maxSeconds } = this.#options.settings;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      abort.abort();
    }, maxSeconds * 1000).unref();
    try {
      this.#change(job, { state: 'running', starts: job.record.starts + 1 });
      const outcome = await this.#options.run({
        ...{ input: this.#store.inputOf(id), output: this.#store.resultOf(job.record), scale, signal: abort.signal },
        onProgress: (frames, total) => {
          job.framesDone = frames;
          job.framesTotal = total;
        },
      });
      this.#change(job, { state: 'done', outcome, endedAt: new Date(this.#now()).toISOString() });
      this.#store.removeInput(id);
      this.#options.log.info({ job: id, frames: outcome.frames }, 'job.done');
    } catch (thrown) {
      // Removed, or the server stops: the next start takes it up.
      if (abort.signal.aborted && !late) this.#putBack(job);
      else this.#fail(job, late ? tooLong(maxSeconds) : AppError.from(thrown));
    } finally {
      clearTimeout(timer);
    }
  }

  #putBack(job: Job): void {
    if (this.#jobs.has(job.record.id)) this.#change(job, { state: 'queued', starts: job.record.starts - 1 });
  }

  #fail(job: Job, error: AppError): void {
    const { id, name } = job.record;
    const { code, remedy } = error;
    // Messages name the file by its path, which is not the client's.
    const message = error.message.replaceAll(this.#store.inputOf(id), name);
    this.#options.log.warn({ job: id, code, reason: message }, 'job.failed');
    this.#change(job, {
      ...{ state: 'failed', error: { code, message, remedy }, endedAt: new Date(this.#now()).toISOString() },
    });
    this.#store.removeInput(id);
  }

  /** A record that the disk does not take is right here and old after a restart. */
  #change(job: Job, change: Partial<JobRecord>): void {
    job.record = { ...job.record, ...change };
    if (!this.#jobs.has(job.record.id)) return;
    try {
      this.#store.write(job.record);
    } catch (thrown) {
      this.#options.log.warn({ job: job.record.id, reason: AppError.from(thrown).message }, 'job.notKept');
    }
  }

  #expiryOf({ endedAt }: JobRecord): number {
    return endedAt === undefined ? Infinity : Date.parse(endedAt) + this.#options.settings.keepSeconds * 1000;
  }

  #find(id: string): Job {
    const job = this.#jobs.get(id);
    if (job === undefined) throw new AppError('job.unknown', 'There is no such job (any more).');
    return job;
  }
}

function tooLong(maxSeconds: number): AppError {
  return new AppError('job.tooLong', `The job took more than ${maxSeconds} s (jobs.maxSeconds).`);
}
