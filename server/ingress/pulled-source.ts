import { randomBytes } from 'node:crypto';
import { Backoff } from '../backoff.ts';
import type { BroadcastRegistry } from '../broadcast/broadcast-registry.ts';
import type { Source, SourceStats } from '../broadcast/source.ts';
import { shownTarget, type TargetPolicy } from '../access/target-policy.ts';
import type { SourceConfig } from '../config/sections/sources.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { MonotonicUs } from '../media/types.ts';
import type { Metrics } from '../metrics.ts';
import type { PullStack } from '../rtc/peers.ts';
import { ProcessPull, type CreatePuller } from './process-pull.ts';
import { ended, type Pull, type PullEvents } from './pull.ts';
import { WhepPull } from './whep-pull.ts';

export interface PulledSourceDependencies {
  readonly registry: BroadcastRegistry;
  readonly allow: readonly string[];
  readonly policy: TargetPolicy;
  readonly rtc: PullStack;
  /** `ice.interfaceAddresses` */
  readonly interfaceAddresses: readonly string[];
  readonly maxPixels: number;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'error' | 'sourceFailed'>;
  readonly nowUs: () => MonotonicUs;
  readonly createPuller?: CreatePuller;
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
  | { readonly kind: 'delivering'; readonly stream: Source }
  | { readonly kind: 'waiting'; readonly untilUs: MonotonicUs; readonly wake: () => void }
  | { readonly kind: 'stopped' };

/** Why a connection ended, and how long the target asks to be left alone. */
interface Ended {
  readonly error: AppError;
  readonly retryAfterMs: number;
}

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

  async #detach(stream: Source): Promise<void> {
    const broadcast = this.#deps.registry.get(this.name);
    await (broadcast === undefined ? stream.close() : broadcast.detach(stream, 'request'));
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#deliversSinceUs = undefined;
      // A process that cannot even be started is one more failure.
      const { error, retryAfterMs } = await this.#connection().catch((thrown: unknown) => ({
        ...{ error: AppError.from(thrown, 'target.unreachable'), retryAfterMs: 0 },
      }));
      if (this.#stopped) break;
      this.#lastError = error;
      const nowUs = this.#deps.nowUs();
      const workedMs = (nowUs - (this.#deliversSinceUs ?? nowUs)) / 1000;
      this.#failures = workedMs >= GOOD_AFTER_MS ? 1 : this.#failures + 1;
      this.#deps.metrics.error(error.code);
      this.#deps.metrics.sourceFailed(this.name, error.code);
      const waitMs = this.#backoff.next(workedMs, retryAfterMs);
      this.#log.warn({ code: error.code, reason: error.message, retryInMs: waitMs }, 'source.lost');
      await this.#wait(waitMs);
    }
    this.#releaseName();
  }

  get #stopped(): boolean {
    return this.#state.kind === 'stopped';
  }

  #connection(): Promise<Ended> {
    return new Promise((resolve) => {
      let over = false;
      const finish = (error: AppError, retryAfterMs = 0): void => {
        if (over) return;
        over = true;
        void pull.close().then(() => resolve({ error, retryAfterMs }));
      };
      const pull = this.#open({
        onNotice: (notice) => this.#log.info({ notice }, 'source.notice'),
        onOpened: (source) => {
          this.#attach(source).catch((thrown: unknown) => finish(AppError.from(thrown)));
        },
        onEnded: finish,
      });
      this.#state = { kind: 'connecting', end: () => finish(ended()) };
    });
  }

  #open(events: PullEvents): Pull {
    const { name, type, url, transport, timeoutSeconds, bearer } = this.#config;
    const { registry, rtc, policy, interfaceAddresses, nowUs, allow, maxPixels, createPuller } = this.#deps;
    const id = `${name} pulled ${this.#connections}`;
    const timeoutMs = timeoutSeconds * 1000;
    // The name is kept, so its broadcast is there.
    const clock = registry.get(name)?.clock;
    if (type === 'whep') {
      const log = this.#log;
      return new WhepPull({ id, url, bearer, timeoutMs, clock, rtc, policy, interfaceAddresses, nowUs, log }, events);
    }
    const job = { url, transport, timeoutMs, maxPixels, allow };
    return new ProcessPull({ id, job, clock, nowUs, createPuller }, events);
  }

  #attach(source: Source): Promise<void> {
    return this.#deps.registry.using(this.name, (broadcast) => {
      if (this.#stopped) throw ended();
      // An address of its own: sources of the configuration do not count against each other.
      const claim = broadcast.claim(this.#right, `source ${this.name}`);
      try {
        this.#state = { kind: 'delivering', stream: source };
        this.#connections += 1;
        this.#deliversSinceUs = this.#deps.nowUs();
        claim.attach(source);
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
