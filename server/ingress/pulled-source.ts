import { randomBytes } from 'node:crypto';
import { Backoff } from '../backoff.ts';
import type { BroadcastRegistry } from '../broadcast/broadcast-registry.ts';
import type { SourceStats } from '../broadcast/source.ts';
import { shownTarget } from '../access/target-policy.ts';
import type { SourceConfig } from '../config/sections/sources.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { RtpClock } from '../media/rtp-clock.ts';
import type { MonotonicUs } from '../media/types.ts';
import type { Metrics } from '../metrics.ts';
import type { PullJob } from './child/messages.ts';
import { PullProcess, type PullListener } from './pull-process.ts';
import { PulledStream } from './pulled-stream.ts';

/** What is pulled; `PullProcess`, or a test's double. */
export interface Puller {
  close(): Promise<void>;
}

export interface PulledSourceDependencies {
  readonly registry: BroadcastRegistry;
  readonly allow: readonly string[];
  readonly maxPixels: number;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'error' | 'sourceFailed'>;
  readonly nowUs: () => MonotonicUs;
  readonly createPuller?: (job: PullJob, listener: PullListener) => Puller;
}

/** What an operator reads of one source. */
export interface SourceSummary {
  readonly name: string;
  /** Scheme, host and port: user, password, path and query may be secrets. */
  readonly target: string;
  readonly state: 'connecting' | 'delivering' | 'waiting' | 'stopped';
  /** Connections that have brought at least the stream's tracks. */
  readonly connections: number;
  readonly failuresInARow: number;
  /** Until the next try, ms; 0 unless it waits. */
  readonly retryInMs: number;
  readonly lastError: { readonly code: string; readonly message: string } | undefined;
  readonly stats: SourceStats | undefined;
}

type State =
  | { readonly kind: 'connecting'; readonly end: () => void }
  | { readonly kind: 'delivering'; readonly stream: PulledStream }
  | { readonly kind: 'waiting'; readonly untilUs: MonotonicUs; readonly wake: () => void }
  | { readonly kind: 'stopped' };

/** A stream that came for this long was good: the next failure begins a new count. A target that hangs never gets there. */
const GOOD_AFTER_MS = 10_000;

/**
 * One configured source: holds its broadcast's name, connects, delivers, and connects again with a growing wait when it is lost.
 * Viewers stay in between, as after a publisher's loss.
 */
export class PulledSource {
  readonly name: string;
  readonly #config: SourceConfig;
  readonly #deps: PulledSourceDependencies;
  readonly #log: Log;
  readonly #right = { token: randomBytes(24).toString('base64url'), kind: 'own' } as const;
  readonly #releaseName: () => void;
  readonly #backoff: Backoff;
  readonly #running: Promise<void>;
  #state: State = { kind: 'connecting', end: () => undefined };
  #connections = 0;
  #failures = 0;
  /** Of the present connection; undefined until its tracks are known. */
  #deliversSinceUs: MonotonicUs | undefined;
  #lastError: AppError | undefined;

  /** @throws AppError broadcast.nameTaken | server.draining */
  constructor(config: SourceConfig, deps: PulledSourceDependencies) {
    this.name = config.name;
    this.#config = config;
    this.#deps = deps;
    this.#log = deps.log.child({ broadcast: config.name });
    const [firstMs, maxMs] = [config.retrySeconds * 1000, config.maxRetrySeconds * 1000];
    this.#backoff = new Backoff({ firstMs, maxMs: Math.max(firstMs, maxMs), healthyMs: GOOD_AFTER_MS });
    this.#releaseName = deps.registry.keepFor(config.name, this.#right.token);
    this.#running = this.#run();
  }

  summary(): SourceSummary {
    const state = this.#state;
    const error = this.#lastError;
    return {
      name: this.name,
      target: shownTarget(new URL(this.#config.url)),
      state: state.kind,
      connections: this.#connections,
      failuresInARow: this.#failures,
      retryInMs: state.kind === 'waiting' ? Math.max(0, Math.round((state.untilUs - this.#deps.nowUs()) / 1000)) : 0,
      lastError: error && { code: error.code, message: error.message },
      stats: state.kind === 'delivering' ? state.stream.getStats() : undefined,
    };
  }

  /** Idempotent; resolves when its process is gone and the name is free. */
  async stop(): Promise<void> {
    const state = this.#state;
    this.#state = { kind: 'stopped' };
    if (state.kind === 'waiting') state.wake();
    else if (state.kind === 'connecting') state.end();
    else if (state.kind === 'delivering') await this.#detach(state.stream);
    await this.#running;
  }

  async #detach(stream: PulledStream): Promise<void> {
    const broadcast = this.#deps.registry.get(this.name);
    await (broadcast === undefined ? stream.close() : broadcast.detach(stream, 'request'));
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#deliversSinceUs = undefined;
      // A process that cannot even be started is one more failure.
      const error = await this.#connection().catch((thrown: unknown) => AppError.from(thrown, 'target.unreachable'));
      if (this.#stopped) break;
      this.#lastError = error;
      const nowUs = this.#deps.nowUs();
      const workedMs = (nowUs - (this.#deliversSinceUs ?? nowUs)) / 1000;
      this.#failures = workedMs >= GOOD_AFTER_MS ? 1 : this.#failures + 1;
      this.#deps.metrics.error(error.code);
      this.#deps.metrics.sourceFailed(this.name, error.code);
      const waitMs = this.#backoff.next(workedMs);
      this.#log.warn({ code: error.code, reason: error.message, retryInMs: waitMs }, 'source.lost');
      await this.#wait(waitMs);
    }
    this.#releaseName();
  }

  get #stopped(): boolean {
    return this.#state.kind === 'stopped';
  }

  /** @returns why it ended */
  #connection(): Promise<AppError> {
    return new Promise((resolve) => {
      let stream: PulledStream | undefined;
      let over = false;
      const finish = (error: AppError): void => {
        if (over) return;
        over = true;
        void puller.close().then(() => resolve(error));
      };
      const create = this.#deps.createPuller ?? ((job, listener) => new PullProcess(job, listener));
      const puller = create(this.#job(), {
        onOpened: ({ hasAudio, notices }) => {
          for (const notice of notices) this.#log.info({ notice }, 'source.notice');
          this.#attach(
            (clock) =>
              (stream = new PulledStream({
                id: `${this.name} pulled ${this.#connections}`,
                clock,
                nowUs: this.#deps.nowUs,
                hasAudio,
                stop: () => puller.close(),
                onEnded: (_reason, error) => finish(error ?? ended()),
              })),
          ).catch((thrown: unknown) => finish(AppError.from(thrown)));
        },
        onVideo: (record) => stream?.onVideo(record),
        onAudio: (record) => stream?.onAudio(record),
        onAlive: ({ framesDropped }) => stream?.onDropped(framesDropped),
        onEnded: (error = ended()) => {
          stream?.lost(error);
          finish(error);
        },
      });
      this.#state = { kind: 'connecting', end: () => finish(ended()) };
    });
  }

  #job(): PullJob {
    const { url, transport, timeoutSeconds } = this.#config;
    const { allow, maxPixels } = this.#deps;
    return { url, transport, timeoutMs: timeoutSeconds * 1000, maxPixels, allow };
  }

  #attach(create: (clock: RtpClock) => PulledStream): Promise<void> {
    return this.#deps.registry.using(this.name, (broadcast) => {
      if (this.#stopped) throw ended();
      // An address of its own: sources of the configuration do not count against each other.
      const claim = broadcast.claim(this.#right, `source ${this.name}`);
      try {
        const stream = create(broadcast.clock);
        this.#state = { kind: 'delivering', stream };
        this.#connections += 1;
        this.#deliversSinceUs = this.#deps.nowUs();
        claim.attach(stream);
        this.#log.info({ target: this.summary().target }, 'source.connected');
      } finally {
        claim.release();
      }
      return Promise.resolve();
    });
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        if (!this.#stopped) this.#state = { kind: 'connecting', end: () => undefined };
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#state = { kind: 'waiting', untilUs: this.#deps.nowUs() + ms * 1000, wake };
    });
  }
}

function ended(): AppError {
  return new AppError('target.unreachable', 'The source has ended.');
}
