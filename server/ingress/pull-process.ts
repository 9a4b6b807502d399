import type { Writable } from 'node:stream';
import { childEnvironment } from '../access/child-environment.ts';
import { AppError } from '../errors.ts';
import { SupervisedChild } from '../supervised-child.ts';
import {
  RECORD_FD,
  RecordReader,
  type AudioRecord,
  type PullJob,
  type Report,
  type VideoRecord,
} from './child/messages.ts';

/** The process reports every second; one that is silent for this much longer than its own time-out hangs. */
const HUNG_AFTER_MS = 10_000;

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

const PROGRAM = new URL('./child/pull-child.ts', import.meta.url);

/** The server's side of the process that pulls one source. Whatever the process does, it ends no more than its stream. */
export class PullProcess {
  readonly #child: SupervisedChild;
  readonly #listener: PullListener;
  readonly #hungAfterMs: number;
  readonly #records = new RecordReader();
  #outcome: { readonly error: AppError | undefined } | undefined;
  #closed = false;

  constructor(job: PullJob, listener: PullListener, { program = PROGRAM }: PullProcessOptions = {}) {
    this.#listener = listener;
    this.#hungAfterMs = job.timeoutMs + HUNG_AFTER_MS;
    this.#child = new SupervisedChild({
      module: program,
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
      env: childEnvironment(),
    });
    this.#child.pipe(RECORD_FD)?.on('data', (chunk: Buffer) => this.#onData(chunk));
    (this.#child.pipe(0) as Writable | undefined)?.write(`${JSON.stringify(job)}\n`);
    void this.#child.ended.then(({ how }) => this.#onExit(how));
    this.#touch();
  }

  /** Idempotent; resolves when the process is gone. Nothing is reported any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#child.kill();
    await this.#child.ended;
  }

  #onData(chunk: Buffer): void {
    if (this.#outcome !== undefined || this.#closed) return;
    try {
      for (const record of this.#records.push(chunk)) this.#onRecord(record);
    } catch (thrown) {
      this.#fail(AppError.from(thrown));
    }
  }

  #onExit(how: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.onEnded(this.#outcome === undefined ? this.#crashed(how) : this.#outcome.error);
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
    this.#child.limit(this.#hungAfterMs, () => {
      this.#fail(new AppError('target.unreachable', 'The process that pulls the stream hung and was ended.'));
    });
  }

  #fail(error: AppError): void {
    this.#outcome ??= { error };
    this.#child.kill();
  }

  #crashed(how: string): AppError {
    return new AppError('target.answer', `The process that pulls the stream crashed (${how}).`, {
      context: { how, stderr: this.#child.stderr },
      remedy: 'The stream is damaged, or made to attack FFmpeg; if it repeats, report it with the log.',
    });
  }
}
