import { AppError } from '../errors.ts';
import type { Config } from '../config/config.ts';
import type { MetricsSnapshot } from '../metrics.ts';
import { Arrivals } from './arrivals.ts';
import { Broadcast } from './broadcast.ts';
import type { BroadcastDetail } from './detail.ts';
import { Places } from './places.ts';
import type { BroadcastDependencies } from './ports.ts';
import type { BroadcastList } from './statistics.ts';
import { ViewerPlaces } from './viewer-places.ts';

export interface RegistryOptions extends Omit<BroadcastDependencies, 'places' | 'arrivals' | 'onChange'> {
  /** Broadcasts with a pipeline at once. */
  readonly capacity: number;
  readonly limits: Pick<
    Config['limits'],
    'maxViewers' | 'maxViewersPerBroadcast' | 'maxViewersPerAddress' | 'maxBroadcastsPerAddress'
  >;
}

const TICK_MS = 1000;
/** List pushes are merged to at most four a second. */
const LIST_MERGE_MS = 250;
/** Publisher sessions without a picture, besides as many as there are places: each holds sockets for at most 15 s. */
const SPARE_ARRIVALS = 32;

/** All broadcasts of the process by name, and how many of each thing there may be. */
export class BroadcastRegistry {
  readonly viewerPlaces: ViewerPlaces;
  readonly #options: RegistryOptions;
  readonly #broadcasts = new Map<string, Broadcast>();
  readonly #places: Places;
  readonly #arrivals: Arrivals;
  readonly #listListeners = new Set<() => void>();
  #listTimer: NodeJS.Timeout | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #draining = false;
  #closed = false;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.viewerPlaces = new ViewerPlaces(options.limits);
    this.#places = new Places({
      get capacity() {
        return options.capacity;
      },
      hasIdle: () => this.#oldestIdle() !== undefined,
      releaseIdle: () => {
        const idle = this.#oldestIdle();
        idle?.releasePipeline();
        return idle !== undefined;
      },
      onFreed: () => this.#changed(),
    });
    this.#arrivals = new Arrivals({
      perAddress: options.limits.maxBroadcastsPerAddress,
      unsettled: options.capacity + SPARE_ARRIVALS,
    });
  }

  get capacity(): number {
    return this.#options.capacity;
  }
  get broadcastCount(): number {
    return this.#broadcasts.size;
  }
  get draining(): boolean {
    return this.#draining;
  }

  get(name: string): Broadcast | undefined {
    return this.#broadcasts.get(name);
  }

  /**
   * Runs `act` with the broadcast of that name, which is made if there is none and forgotten afterwards if nothing was added.
   * @throws AppError server.draining, and what `act` throws
   */
  async using<T>(name: string, act: (broadcast: Broadcast) => Promise<T>): Promise<T> {
    this.refuseWhenDraining();
    const broadcast = this.#open(name);
    const end = broadcast.hold();
    try {
      return await act(broadcast);
    } finally {
      end();
      this.forgetIdle(broadcast);
    }
  }

  /**
   * The name belongs to the source with this token until the returned function is called.
   * @throws AppError server.draining | broadcast.nameTaken
   */
  keepFor(name: string, token: string): () => void {
    this.refuseWhenDraining();
    const broadcast = this.#open(name);
    try {
      const end = broadcast.keepFor(token);
      return () => {
        end();
        this.forgetIdle(broadcast);
      };
    } catch (error) {
      this.forgetIdle(broadcast);
      throw error;
    }
  }

  list(): BroadcastList {
    const broadcasts = [...this.#broadcasts.values()]
      .filter(({ owned }) => owned)
      .map((broadcast) => broadcast.summary());
    return { broadcasts, capacity: { used: this.#places.taken, total: this.#options.capacity } };
  }

  /** As list(), with all that is known of each. */
  details(): BroadcastDetail[] {
    return [...this.#broadcasts.values()].filter(({ owned }) => owned).map((broadcast) => broadcast.detail());
  }

  onListChanged(listener: () => void): () => void {
    this.#listListeners.add(listener);
    return () => this.#listListeners.delete(listener);
  }

  metricsSnapshot(): Omit<MetricsSnapshot, 'outputs' | 'sources' | 'engines'> {
    const broadcasts = [...this.#broadcasts.values()];
    const running = broadcasts.filter(({ hasPipeline }) => hasPipeline);
    return {
      broadcasts: running.length,
      broadcastCapacity: this.#options.capacity,
      viewers: this.viewerPlaces.taken,
      bitrateInBps: broadcasts.reduce((sum, { stats }) => sum + (stats?.source.bitrateBps ?? 0), 0),
      bitrateOutBps: broadcasts.reduce((sum, { bitrateOutBps }) => sum + bitrateOutBps, 0),
      queueDepthFrames: broadcasts.reduce((sum, { pipelineStats }) => sum + (pipelineStats?.queueDepth ?? 0), 0),
      pipelines: running.map(({ name, pipelineStats }) => ({
        broadcast: name,
        rung: pipelineStats?.ladderRung ?? 0,
        delayMs: pipelineStats?.presentationDelayMs ?? 0,
      })),
    };
  }

  /** The state of everything, for people who debug; no tokens, no addresses. */
  toJSON(): object {
    return {
      draining: this.#draining,
      places: this.#places,
      viewers: this.viewerPlaces.taken,
      publishers: this.#arrivals.size,
      broadcasts: [...this.#broadcasts.values()],
    };
  }

  /** No new sessions from now on; those that run go on. */
  drain(): void {
    this.#draining = true;
  }

  /** @throws AppError server.draining */
  refuseWhenDraining(): void {
    if (this.#draining) throw new AppError('server.draining', 'The server is stopping and takes no new sessions.');
  }

  /** Idempotent; resolves when all pipelines are gone. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#draining = true;
    clearInterval(this.#ticker);
    clearTimeout(this.#listTimer);
    const error = new AppError('server.draining', 'The server is stopping.');
    await Promise.all([...this.#broadcasts.values()].map((broadcast) => broadcast.close('server is stopping', error)));
    await this.#places.settled();
    this.#broadcasts.clear();
  }

  /** Once a second: called by the registry's timer, by tests directly. */
  tick(): void {
    for (const broadcast of this.#broadcasts.values()) {
      try {
        broadcast.tick();
      } catch (thrown) {
        this.#onDefect(broadcast.name, AppError.from(thrown));
      }
    }
    for (const broadcast of [...this.#broadcasts.values()]) this.forgetIdle(broadcast);
  }

  /** From a timer it would end the process, and with it every other broadcast. */
  #onDefect(broadcast: string, error: AppError): void {
    this.#options.metrics.error(error.code);
    this.#options.log.error({ broadcast, code: error.code, reason: error.message, stack: error.stack }, 'tick.error');
  }

  #open(name: string): Broadcast {
    const known = this.#broadcasts.get(name);
    if (known !== undefined) return known;
    const broadcast = new Broadcast(name, {
      ...this.#options,
      places: this.#places,
      arrivals: this.#arrivals,
      onChange: () => this.#changed(),
    });
    this.#broadcasts.set(name, broadcast);
    this.#ticker ??= setInterval(() => this.tick(), TICK_MS).unref();
    return broadcast;
  }

  #oldestIdle(): Broadcast | undefined {
    let oldest: Broadcast | undefined;
    for (const broadcast of this.#broadcasts.values()) {
      const until = broadcast.idlePipelineUntilUs;
      if (until !== undefined && until < (oldest?.idlePipelineUntilUs ?? Infinity)) oldest = broadcast;
    }
    return oldest;
  }

  /** Something has left the broadcast: if it was the last, the name is not known any more. */
  forgetIdle(broadcast: Broadcast): void {
    if (!broadcast.idle || this.#broadcasts.get(broadcast.name) !== broadcast) return;
    this.#broadcasts.delete(broadcast.name);
    if (this.#broadcasts.size === 0) {
      clearInterval(this.#ticker);
      this.#ticker = undefined;
    }
    this.#changed();
  }

  #changed(): void {
    if (this.#closed) return;
    this.#listTimer ??= setTimeout(() => {
      this.#listTimer = undefined;
      for (const listener of this.#listListeners) listener();
    }, LIST_MERGE_MS).unref();
  }
}
