import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { childEnvironment } from '../access/child-environment.ts';
import { AppError } from '../errors.ts';
import { RecordReader, type AudioRecord, type PullJob, type Report, type VideoRecord } from './child/messages.ts';

/** The process reports every second; one that is silent for this much longer than its own time-out hangs. */
const HUNG_AFTER_MS = 10_000;
const MAX_STDERR_BYTES = 2000;

export interface PullListener {
  onOpened(report: Extract<Report, { type: 'opened' }>): void;
  onVideo(record: VideoRecord): void;
  onAudio(record: AudioRecord): void;
  onAlive(report: Extract<Report, { type: 'alive' }>): void;
  /** Once, whatever ended it but close(). `error` is undefined when the stream has come to its end. */
  onEnded(error: AppError | undefined): void;
}

export interface PullProcessOptions {
  /** For tests: another program in the child's place. */
  readonly program?: URL;
}

const PROGRAM = new URL('./boot.mjs', import.meta.url);

/** The server's side of the process that pulls one source. Whatever the process does, it ends no more than its stream. */
export class PullProcess {
  readonly #child: ChildProcess;
  readonly #listener: PullListener;
  readonly #exited: Promise<void>;
  readonly #hungAfterMs: number;
  #watchdog: NodeJS.Timeout | undefined;
  #stderr = '';
  #outcome: { readonly error: AppError | undefined } | undefined;
  #closed = false;

  constructor(job: PullJob, listener: PullListener, { program = PROGRAM }: PullProcessOptions = {}) {
    this.#listener = listener;
    this.#hungAfterMs = job.timeoutMs + HUNG_AFTER_MS;
    this.#child = spawn(process.execPath, [fileURLToPath(program)], {
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
      env: childEnvironment(),
    });
    this.#exited = this.#watch();
    // A child that is gone already says so by 'close'.
    this.#child.stdin?.on('error', () => undefined).write(`${JSON.stringify(job)}\n`);
    this.#touch();
  }

  /** Idempotent; resolves when the process is gone. Nothing is reported any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  #watch(): Promise<void> {
    const records = new RecordReader();
    // Node leaves `stdio` away when no file descriptor was left for the process; 'error' follows, which must be heard.
    const { stdio } = this.#child as { readonly stdio?: ChildProcess['stdio'] };
    const pipe = stdio?.[3] as Readable | undefined;
    pipe?.on('error', () => undefined);
    pipe?.on('data', (chunk: Buffer) => {
      if (this.#outcome !== undefined || this.#closed) return;
      try {
        for (const record of records.push(chunk)) this.#onRecord(record);
      } catch (thrown) {
        this.#fail(AppError.from(thrown));
      }
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      if (this.#stderr.length < MAX_STDERR_BYTES) this.#stderr += chunk.toString('utf8').slice(0, MAX_STDERR_BYTES);
    });
    return new Promise((resolve) => {
      const over = (how: string): void => {
        clearTimeout(this.#watchdog);
        resolve();
        if (this.#closed) return;
        this.#closed = true;
        this.#listener.onEnded(this.#outcome === undefined ? this.#crashed(how) : this.#outcome.error);
      };
      this.#child.once('error', (error) => over(error.message));
      // 'close', not 'exit': records on their way arrive before it.
      this.#child.once('close', (code, signal) => over(signal ?? `exit code ${code}`));
    });
  }

  #onRecord(record: ReturnType<RecordReader['push']>[number]): void {
    this.#touch();
    if (this.#closed || this.#outcome !== undefined) return;
    if (record.kind === 'video') return this.#listener.onVideo(record);
    if (record.kind === 'audio') return this.#listener.onAudio(record);
    const { report } = record;
    if (report.type === 'opened') this.#listener.onOpened(report);
    else if (report.type === 'alive') this.#listener.onAlive(report);
    else if (report.type === 'ended') this.#outcome = { error: undefined };
    else this.#fail(AppError.fromJSON(report.error));
  }

  #touch(): void {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      this.#fail(new AppError('target.unreachable', 'The process that pulls the stream hung and was ended.'));
    }, this.#hungAfterMs);
  }

  #fail(error: AppError): void {
    this.#outcome ??= { error };
    this.#child.kill('SIGKILL');
  }

  #crashed(how: string): AppError {
    return new AppError('target.answer', `The process that pulls the stream crashed (${how}).`, {
      context: { how, stderr: this.#stderr },
      remedy: 'The stream is damaged, or made to attack FFmpeg; if it repeats, report it with the log.',
    });
  }
}
