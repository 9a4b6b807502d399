import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors.ts';
import type { MetricsSnapshot } from '../metrics.ts';
import type { IceCandidate, IceServer } from '../rtc/peers.ts';
import type {
  LeaveCause,
  PublishReply,
  PublishRequest,
  SessionSink,
  SessionService,
  WatchReply,
  WatchRequest,
} from './sessions.ts';
import { Broadcast, type BroadcastDependencies } from './broadcast.ts';
import type { Publisher } from './publisher.ts';
import type { Viewer } from './viewer.ts';
import type { BroadcastList, ModelSummary } from './statistics.ts';

export interface RegistryOptions extends Omit<BroadcastDependencies, 'admit' | 'onPipelineClosing' | 'onChange'> {
  /** Broadcasts with a pipeline at once. */
  readonly capacity: number;
  readonly iceServers: readonly IceServer[];
}

type Session =
  | { readonly role: 'publisher'; readonly broadcast: Broadcast; readonly publisher: Publisher }
  | { readonly role: 'viewer'; readonly broadcast: Broadcast; readonly viewer: Viewer };

const TICK_MS = 1000;
const CLOSING_WAIT_MS = 5000;
/** List pushes are merged to at most four a second. */
const LIST_MERGE_MS = 250;

/** All broadcasts of the process and the sessions into them: what signaling (later WHIP and WHEP) talks to. */
export class BroadcastRegistry implements SessionService {
  readonly #options: RegistryOptions;
  readonly #broadcasts = new Map<string, Broadcast>();
  readonly #sessions = new Map<string, Session>();
  /** Pipelines on their way out. */
  readonly #closing = new Set<Promise<void>>();
  readonly #listListeners = new Set<() => void>();
  #listTimer: NodeJS.Timeout | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #draining = false;
  #closed = false;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  get capacity(): number {
    return this.#options.capacity;
  }
  get sessionCount(): number {
    return this.#sessions.size;
  }
  get broadcastCount(): number {
    return this.#broadcasts.size;
  }
  get draining(): boolean {
    return this.#draining;
  }

  #running(): number {
    let running = 0;
    for (const broadcast of this.#broadcasts.values()) if (broadcast.hasPipeline) running += 1;
    return running;
  }

  #viewers(): number {
    let viewers = 0;
    for (const session of this.#sessions.values()) if (session.role === 'viewer') viewers += 1;
    return viewers;
  }

  // --- SignalingPort ---

  welcome(): { model: ModelSummary; iceServers: readonly IceServer[] } {
    return { model: this.#options.model, iceServers: this.#options.iceServers };
  }

  async publish(request: PublishRequest, sink: SessionSink): Promise<PublishReply> {
    this.#refuseWhenDraining();
    const session = newSessionId();
    const broadcast = this.#open(request.name);
    try {
      const reply = await broadcast.publish(session, request.sdp, request.resumeToken, sink);
      if (this.#closed) throw new AppError('server.draining', 'The server is stopping.');
      this.#sessions.set(session, { role: 'publisher', broadcast, publisher: reply.publisher });
      return { session, resumeToken: reply.resumeToken, sdp: reply.sdp };
    } catch (error) {
      this.#forgetIdle(broadcast);
      throw error;
    }
  }

  async watch(request: WatchRequest, sink: SessionSink): Promise<WatchReply> {
    this.#refuseWhenDraining();
    const { maxViewers, maxViewersPerBroadcast } = this.#options.config.limits;
    if (this.#viewers() >= maxViewers) {
      throw new AppError('server.full', `The server has its ${maxViewers} viewers (limits.maxViewers).`);
    }
    const broadcast = this.#open(request.name);
    try {
      if (broadcast.viewerCount >= maxViewersPerBroadcast) {
        throw new AppError(
          'server.full',
          `"${request.name}" has its ${maxViewersPerBroadcast} viewers (limits.maxViewersPerBroadcast).`,
        );
      }
      const session = newSessionId();
      const { sdp, state, viewer } = await broadcast.watch(session, request.sdp, sink);
      if (this.#closed) throw new AppError('server.draining', 'The server is stopping.');
      this.#sessions.set(session, { role: 'viewer', broadcast, viewer });
      return { session, sdp, state };
    } catch (error) {
      this.#forgetIdle(broadcast);
      throw error;
    }
  }

  async restart(session: string, offerSdp: string): Promise<string> {
    return this.#peer(session).restart(offerSdp);
  }

  async addCandidate(session: string, candidate: IceCandidate): Promise<void> {
    await this.#peer(session).addCandidate(candidate);
  }

  async leave(session: string, cause: LeaveCause): Promise<void> {
    const known = this.#sessions.get(session);
    if (known === undefined) return;
    this.#sessions.delete(session);
    if (known.role === 'publisher') await known.broadcast.unpublish(known.publisher, cause);
    else await known.broadcast.unsubscribe(session);
    this.#forgetIdle(known.broadcast);
  }

  list(): BroadcastList {
    const broadcasts = [...this.#broadcasts.values()]
      .filter(({ owned }) => owned)
      .map((broadcast) => broadcast.summary());
    return { broadcasts, capacity: { used: this.#running(), total: this.#options.capacity } };
  }

  onListChanged(listener: () => void): () => void {
    this.#listListeners.add(listener);
    return () => this.#listListeners.delete(listener);
  }

  // --- operation ---

  metricsSnapshot(): MetricsSnapshot {
    const broadcasts = [...this.#broadcasts.values()];
    const stats = broadcasts.flatMap((broadcast) => (broadcast.stats === undefined ? [] : [broadcast.stats]));
    let bitrateOutBps = 0;
    for (const session of this.#sessions.values()) {
      if (session.role === 'viewer') bitrateOutBps += session.viewer.stats().bitrateBps;
    }
    return {
      broadcasts: this.#running(),
      broadcastCapacity: this.#options.capacity,
      viewers: this.#viewers(),
      bitrateInBps: stats.reduce((sum, { source }) => sum + source.bitrateBps, 0),
      bitrateOutBps,
      queueDepthFrames: broadcasts.reduce((sum, { pipelineStats }) => sum + (pipelineStats?.queueDepth ?? 0), 0),
      pipelines: broadcasts
        .filter((broadcast) => broadcast.hasPipeline)
        .map(({ name, pipelineStats }) => ({
          broadcast: name,
          rung: pipelineStats?.ladderRung ?? 0,
          delayMs: pipelineStats?.presentationDelayMs ?? 0,
        })),
    };
  }

  /** No new sessions from now on; those that run go on. */
  drain(): void {
    this.#draining = true;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#draining = true;
    clearInterval(this.#ticker);
    clearTimeout(this.#listTimer);
    const error = new AppError('server.draining', 'The server is stopping.');
    await Promise.all([...this.#broadcasts.values()].map((broadcast) => broadcast.close('server is stopping', error)));
    await Promise.all(this.#closing);
    this.#broadcasts.clear();
    this.#sessions.clear();
  }

  #refuseWhenDraining(): void {
    if (this.#draining) throw new AppError('server.draining', 'The server is stopping and takes no new sessions.');
  }

  #peer(session: string): Publisher['peer'] | Viewer['peer'] {
    const known = this.#sessions.get(session);
    if (known === undefined) throw new AppError('request.unknownSession', 'This session has ended or never was.');
    return known.role === 'publisher' ? known.publisher.peer : known.viewer.peer;
  }

  #open(name: string): Broadcast {
    const known = this.#broadcasts.get(name);
    if (known !== undefined) return known;
    const broadcast = new Broadcast(name, {
      ...this.#options,
      admit: () => this.#admit(),
      onPipelineClosing: (closed) => {
        const done = closed.catch(() => undefined).finally(() => this.#closing.delete(done));
        this.#closing.add(done);
      },
      onChange: () => this.#changed(),
    });
    this.#broadcasts.set(name, broadcast);
    this.#ticker ??= setInterval(() => this.tick(), TICK_MS).unref();
    return broadcast;
  }

  /** A pipeline that is being closed still takes its place, but not for long: it is waited for. */
  async #admit(): Promise<void> {
    if (this.#running() + this.#closing.size >= this.#options.capacity) this.#releaseOldestIdle();
    const end = Date.now() + CLOSING_WAIT_MS;
    while (this.#running() + this.#closing.size >= this.#options.capacity && this.#closing.size > 0) {
      if (Date.now() > end) break;
      await Promise.race([...this.#closing, delay(CLOSING_WAIT_MS, undefined, { ref: false })]);
    }
    const running = this.#running();
    if (running + this.#closing.size < this.#options.capacity) return;
    throw new AppError('server.full', `The server already runs its ${running} broadcasts (limits.maxBroadcasts).`, {
      context: { running, capacity: this.#options.capacity },
    });
  }

  #releaseOldestIdle(): void {
    let oldest: Broadcast | undefined;
    for (const broadcast of this.#broadcasts.values()) {
      const until = broadcast.idlePipelineUntilUs;
      if (until !== undefined && until < (oldest?.idlePipelineUntilUs ?? Infinity)) oldest = broadcast;
    }
    oldest?.releasePipeline();
  }

  /** Once a second by the own timer; tests call it with a clock of theirs. */
  tick(): void {
    for (const broadcast of this.#broadcasts.values()) broadcast.tick();
    for (const [session, known] of this.#sessions) {
      // Sessions whose peer died on its own were already ended by the broadcast; here they are forgotten.
      const peer = known.role === 'publisher' ? known.publisher.peer : known.viewer.peer;
      if (peer.state === 'closed') this.#sessions.delete(session);
    }
    for (const broadcast of [...this.#broadcasts.values()]) this.#forgetIdle(broadcast);
  }

  #forgetIdle(broadcast: Broadcast): void {
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

/** Unguessable: WHIP and WHEP put it into URLs (RFC 9725 section 4.2). */
function newSessionId(): string {
  return randomBytes(18).toString('base64url');
}
