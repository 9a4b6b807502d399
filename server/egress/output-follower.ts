import { randomUUID } from 'node:crypto';
import { Backoff, type BackoffLimits } from '../backoff.ts';
import type { Broadcast } from '../broadcast/broadcast.ts';
import type { OutputConfig } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { OutputKind, OutputRun, RunProgress } from './output-kind.ts';

/** `failed`: it is tried again at `retryAtMs` of performance.now(). */
export type RunState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'running'; readonly sinceMs: number }
  | { readonly kind: 'failed'; readonly error: AppError; readonly retryAtMs: number };

/** What an output uses of a broadcast. */
export type FollowedBroadcast = Pick<Broadcast, 'name' | 'subscribe' | 'unsubscribe'>;

export interface FollowerDependencies {
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'error' | 'outputFailed'>;
  readonly backoff?: Partial<BackoffLimits>;
}

const NOTHING: RunProgress = { target: '', frames: 0, bytes: 0, dropped: 0 };

/** One output on one broadcast: a run, and after each failure the next one, until the broadcast ends. */
export class OutputFollower<Config extends OutputConfig = OutputConfig> {
  readonly #output: Config;
  readonly #kind: OutputKind<Config>;
  readonly #broadcast: FollowedBroadcast;
  readonly #deps: FollowerDependencies;
  readonly #log: Log;
  readonly #backoff: Backoff;
  #state: RunState = { kind: 'connecting' };
  #run: OutputRun | undefined;
  /** Which call of #open() may still report. */
  #attempt: symbol | undefined;
  /** Of the runs before the present one. */
  #before = NOTHING;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;
  /** Runs that are still completing a file or leaving a server. */
  readonly #closing = new Set<Promise<void>>();

  constructor(output: Config, kind: OutputKind<Config>, broadcast: FollowedBroadcast, deps: FollowerDependencies) {
    this.#output = output;
    this.#kind = kind;
    this.#broadcast = broadcast;
    this.#deps = deps;
    this.#backoff = new Backoff(deps.backoff);
    this.#log = deps.log.child({ output: output.name, broadcast: broadcast.name });
    this.#open();
  }

  get state(): RunState {
    return this.#state;
  }
  get failures(): number {
    return this.#failures;
  }
  get bitrateBps(): number {
    return this.#run?.bitrateBps ?? 0;
  }
  get broadcast(): FollowedBroadcast {
    return this.#broadcast;
  }
  /** Of all runs. */
  get progress(): RunProgress {
    const { target, frames, bytes, dropped } = this.#run?.progress ?? NOTHING;
    return {
      target: target === '' ? this.#before.target : target,
      frames: this.#before.frames + frames,
      bytes: this.#before.bytes + bytes,
      dropped: this.#before.dropped + dropped,
    };
  }

  /** Resolves when the target has been left: a file is complete then. Idempotent. */
  async end(): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#leave();
    await Promise.all(this.#closing);
  }

  toJSON(): object {
    return { broadcast: this.#broadcast.name, state: this.#state, failures: this.#failures, run: this.#run };
  }

  #open(): void {
    if (this.#ended) return;
    this.#state = { kind: 'connecting' };
    const attempt = Symbol('attempt');
    this.#attempt = attempt;
    const present = (act: () => void): void => {
      if (this.#attempt === attempt && !this.#ended) act();
    };
    try {
      this.#run = this.#broadcast.subscribe((subscription) =>
        this.#kind.open({
          id: randomUUID(),
          output: this.#output,
          broadcast: this.#broadcast.name,
          subscription,
          events: {
            running: () => present(() => this.#onRunning()),
            failed: (error, retryAfterMs) => present(() => this.#onFailed(error, retryAfterMs)),
          },
        }),
      );
    } catch (thrown) {
      this.#onFailed(AppError.from(thrown));
    }
  }

  #onRunning(): void {
    if (this.#state.kind === 'running') return;
    this.#state = { kind: 'running', sinceMs: performance.now() };
    this.#log.info({ target: this.#run?.progress.target }, 'output.running');
  }

  #onFailed(error: AppError, retryAfterMs?: number): void {
    const workedMs = this.#state.kind === 'running' ? performance.now() - this.#state.sinceMs : 0;
    const waitMs = this.#backoff.next(workedMs, retryAfterMs);
    this.#failures += 1;
    this.#attempt = undefined;
    this.#deps.metrics.error(error.code);
    this.#deps.metrics.outputFailed(this.#output.name, error.code);
    this.#log.warn({ code: error.code, reason: error.message, retryInMs: waitMs }, 'output.failed');
    this.#leave();
    this.#state = { kind: 'failed', error, retryAtMs: performance.now() + waitMs };
    this.#timer = setTimeout(() => this.#open(), waitMs).unref();
  }

  #leave(): void {
    const run = this.#run;
    if (run === undefined) return;
    this.#before = this.progress;
    this.#run = undefined;
    // The broadcast knows it no longer when the broadcast has ended: then it is closed already, or being closed.
    const closing = Promise.all([this.#broadcast.unsubscribe(run.id), run.close()])
      .then(() => undefined)
      .catch((thrown: unknown) => this.#log.error({ err: AppError.from(thrown) }, 'output.closeFailed'))
      .finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}
