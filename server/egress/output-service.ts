import type { BroadcastList } from '../broadcast/statistics.ts';
import type { OutputConfig, OutputOf, OutputType } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { OutputSnapshot } from '../metrics.ts';
import { OutputFollower, type FollowedBroadcast, type FollowerDependencies, type RunState } from './output-follower.ts';
import type { OutputKind } from './output-kind.ts';

/** How each type is made; a type without an entry does not compile. */
export type OutputKinds = { readonly [Type in OutputType]: OutputKind<OutputOf<Type>> };

/** What the service uses of BroadcastRegistry. */
export interface FollowedBroadcasts<Item extends FollowedBroadcast = FollowedBroadcast> {
  list(): BroadcastList;
  get(name: string): Item | undefined;
  onListChanged(listener: () => void): () => void;
}

export interface OutputServiceOptions extends FollowerDependencies {
  readonly registry: FollowedBroadcasts;
  readonly kinds: OutputKinds;
}

/** One output on one broadcast, for people and programs. */
export interface RunStatus {
  readonly broadcast: string;
  readonly state: RunState['kind'];
  readonly target: string;
  readonly frames: number;
  readonly bytes: number;
  readonly bitrateBps: number;
  readonly dropped: number;
  readonly failures: number;
  /** Of `failed`: why, and when it is tried again. */
  readonly error?: { readonly code: string; readonly message: string; readonly remedy: string };
  readonly retryInMs?: number;
}

/** stopped: by its setting or by stop(); waiting: no broadcast that it follows is live. */
export interface OutputStatus {
  readonly name: string;
  readonly type: OutputType;
  readonly broadcast: string;
  readonly track: 'result' | 'source';
  readonly state: 'stopped' | 'waiting' | RunState['kind'];
  readonly runs: readonly RunStatus[];
}

interface Output {
  readonly config: OutputConfig;
  readonly followers: Map<string, OutputFollower>;
  started: boolean;
}

/**
 * Recordings and relays. An output follows its broadcast, or every broadcast: it begins when the broadcast is live, stays while
 * its publisher may come back, and ends with it. The configuration starts them.
 */
export class OutputService {
  readonly #options: OutputServiceOptions;
  readonly #outputs = new Map<string, Output>();
  readonly #unlisten: () => void;
  readonly #ending = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  constructor(options: OutputServiceOptions) {
    this.#options = options;
    this.#unlisten = options.registry.onListChanged(() => this.#follow());
  }

  /**
   * Adds an output, or replaces a stopped one of its name. One with `enabled: false` is listed and does nothing.
   * @throws AppError output.exists, and what its kind finds wrong
   */
  start(config: OutputConfig): void {
    if (this.#outputs.get(config.name)?.started === true) {
      throw new AppError('output.exists', `The output "${config.name}" runs already.`);
    }
    if (config.enabled) this.#kindOf(config).prepare?.(config);
    this.#outputs.set(config.name, { config, followers: new Map(), started: config.enabled });
    this.#follow();
  }

  /** Resolves when its targets have been left. It stays listed. @throws AppError output.unknown */
  async stop(name: string): Promise<void> {
    const output = this.#outputs.get(name);
    if (output === undefined) throw new AppError('output.unknown', `There is no output "${name}".`);
    output.started = false;
    await this.#endAll(output);
  }

  /** As stop(), and it is listed no more. @throws AppError output.unknown */
  async remove(name: string): Promise<void> {
    await this.stop(name);
    // It may have been started again meanwhile.
    if (this.#outputs.get(name)?.started === false) this.#outputs.delete(name);
  }

  list(): OutputStatus[] {
    return [...this.#outputs.values()].map(({ config, started, followers }) => {
      const { name, type, broadcast, track } = config;
      const runs = [...followers.values()].map(statusOf);
      const state = started ? worst(runs) : 'stopped';
      return { name, type, broadcast, track, state, runs };
    });
  }

  /** Stopped ones included. */
  configsOf<Type extends OutputType>(type: Type): OutputOf<Type>[] {
    const isOf = (config: OutputConfig): config is OutputOf<Type> => config.type === type;
    return [...this.#outputs.values()].map(({ config }) => config).filter(isOf);
  }

  openFiles(): Set<string> {
    const runs = this.list().flatMap((output) => (output.type === 'recording' ? output.runs : []));
    return new Set(runs.filter(({ state }) => state === 'running').map(({ target }) => target));
  }

  snapshot(): OutputSnapshot[] {
    return this.list().map(({ name, type, state: now, runs }) => {
      const states = { connecting: 0, running: 0, failed: 0 };
      for (const { state } of runs) states[state] += 1;
      return { output: name, type, state: now, states, bitrateBps: runs.reduce((sum, run) => sum + run.bitrateBps, 0) };
    });
  }

  toJSON(): object {
    return this.list();
  }

  /** Ends all runs: files are complete when it resolves. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#unlisten();
    const outputs = [...this.#outputs.values()];
    for (const output of outputs) output.started = false;
    await Promise.all(outputs.map((output) => this.#endAll(output)));
    await Promise.all(this.#ending);
    await Promise.all(Object.values(this.#options.kinds).map(async (kind) => kind.close?.()));
  }

  /** After every change of the list of broadcasts. */
  #follow(): void {
    if (this.#closing !== undefined) return;
    const { registry } = this.#options;
    const { broadcasts } = registry.list();
    const owned = new Set(broadcasts.map(({ name }) => name));
    const live = broadcasts.filter(({ state }) => state !== 'waiting').map(({ name }) => name);
    for (const output of this.#outputs.values()) {
      if (!output.started) continue;
      for (const [name, follower] of output.followers) {
        if (!owned.has(name) || registry.get(name) !== follower.broadcast) void this.#end(output, name);
      }
      for (const name of live) if (matches(output.config, name)) this.#begin(output, name);
    }
  }

  #begin({ config, followers }: Output, name: string): void {
    const broadcast = this.#options.registry.get(name);
    if (broadcast === undefined || followers.has(name)) return;
    followers.set(name, new OutputFollower(config, this.#kindOf(config), broadcast, this.#options));
  }

  async #endAll(output: Output): Promise<void> {
    await Promise.all([...output.followers.keys()].map((name) => this.#end(output, name)));
  }

  #end({ followers }: Output, name: string): Promise<void> {
    const follower = followers.get(name);
    if (follower === undefined) return Promise.resolve();
    followers.delete(name);
    const ending = follower.end().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
    return ending;
  }

  /** The table has for each type the kind of that type's configuration. */
  #kindOf({ type }: OutputConfig): OutputKind<OutputConfig> {
    return this.#options.kinds[type];
  }
}

function matches({ broadcast }: OutputConfig, name: string): boolean {
  return broadcast === '*' || broadcast === name;
}

function statusOf(follower: OutputFollower): RunStatus {
  const { state, failures, progress, bitrateBps, broadcast } = follower;
  const common = { broadcast: broadcast.name, state: state.kind, ...progress, bitrateBps, failures };
  if (state.kind !== 'failed') return common;
  const { code, message, remedy } = state.error;
  const retryInMs = Math.max(0, Math.round(state.retryAtMs - performance.now()));
  return { ...common, error: { code, message, remedy }, retryInMs };
}

/** Of an output on several broadcasts: what needs a look first. */
function worst(runs: readonly RunStatus[]): OutputStatus['state'] {
  for (const state of ['failed', 'connecting', 'running'] as const) {
    if (runs.some((run) => run.state === state)) return state;
  }
  return 'waiting';
}
