import { randomBytes } from 'node:crypto';
import { AppError, type ErrorCode } from '../errors.ts';
import type { RefusalReason, Refused, Metrics } from '../metrics.ts';
import type { IceCandidate, IceParameters, IceServer, RtcStack } from '../rtc/peers.ts';
import type { Broadcast } from './broadcast.ts';
import type { BroadcastRegistry } from './broadcast-registry.ts';
import { Publisher } from './publisher.ts';
import { endAt } from './session-end.ts';
import type {
  LeaveCause,
  PublishReply,
  PublishRequest,
  SessionService,
  SessionSink,
  ShownPictures,
  WatchReply,
  WatchRequest,
} from './sessions.ts';
import type { Claim } from './source.ts';
import type { BroadcastList, ModelSummary } from './statistics.ts';
import { Viewer } from './viewer.ts';

export interface PeerSessionsOptions {
  readonly registry: BroadcastRegistry;
  readonly rtc: RtcStack;
  readonly metrics: Metrics;
  readonly model: ModelSummary;
  /** At this moment: credentials may be made for each caller. */
  readonly iceServers: () => readonly IceServer[];
  /** What counts as one address: IPv6 by its network, for example. */
  readonly addressKey: (address: string) => string;
}

type Session =
  | {
      readonly role: 'publisher';
      readonly broadcast: Broadcast;
      readonly publisher: Publisher;
      readonly holder: string | undefined;
    }
  | {
      readonly role: 'viewer';
      readonly broadcast: Broadcast;
      readonly viewer: Viewer;
      readonly holder: string | undefined;
    };

/** Whoever's answer is being made: it had the right when it asked, and has no session yet. */
interface Arriving {
  readonly role: Session['role'];
  /** The right that it has shown. */
  readonly action: 'publish' | 'watch';
  readonly name: string;
  readonly holder: string | undefined;
  /** It was kicked, or lost its right, meanwhile. */
  refused: AppError | undefined;
}

/** WebRTC sessions into broadcasts: what signaling, WHIP and WHEP talk to. */
export class PeerSessions implements SessionService {
  readonly #options: PeerSessionsOptions;
  readonly #registry: BroadcastRegistry;
  readonly #sessions = new Map<string, Session>();
  readonly #arriving = new Set<Arriving>();

  constructor(options: PeerSessionsOptions) {
    this.#options = options;
    this.#registry = options.registry;
  }

  get size(): number {
    return this.#sessions.size;
  }

  welcome(): { model: ModelSummary; iceServers: readonly IceServer[] } {
    return { model: this.#options.model, iceServers: this.#options.iceServers() };
  }

  publish(request: PublishRequest, sink: SessionSink): Promise<PublishReply> {
    return this.#counted('broadcast', () =>
      this.#registry.using(request.name, (broadcast) => this.#publish(broadcast, request, sink)),
    );
  }

  async #publish(broadcast: Broadcast, request: PublishRequest, sink: SessionSink): Promise<PublishReply> {
    const { rtc, addressKey } = this.#options;
    const right = { token: request.resumeToken, kind: request.tokenKind };
    const session = newSessionId();
    let cancelEnd = (): void => {};
    const publisher = new Publisher(session, rtc, broadcast.clock, sink, () => {
      this.#sessions.delete(session);
      cancelEnd();
    });
    const arriving = this.#arrive('publisher', request);
    let claim: Claim | undefined;
    try {
      // Claimed once the offer is known to be acceptable: a claim may end an older session of the address.
      const sdp = await publisher.peer.accept(request.sdp, () => {
        claim = broadcast.claim(right, addressKey(request.remoteAddress));
      });
      if (claim === undefined) throw new AppError('internal', 'The peer accepted an offer without asking for a place.');
      if (arriving.refused !== undefined) throw arriving.refused;
      this.#registry.refuseWhenDraining();
      this.#sessions.set(session, { role: 'publisher', broadcast, publisher, holder: request.holder });
      const resumeToken = claim.attach(publisher);
      cancelEnd = endAt(request.endsAtMs, () => void broadcast.dismiss(publisher, 'token expired', expired()));
      return { session, sdp, resumeToken };
    } catch (error) {
      await publisher.close();
      throw error;
    } finally {
      this.#arriving.delete(arriving);
      claim?.release();
    }
  }

  watch(request: WatchRequest, sink: SessionSink): Promise<WatchReply> {
    return this.#counted('viewer', () =>
      this.#registry.using(request.name, (broadcast) => this.#watch(broadcast, request, sink)),
    );
  }

  async #watch(broadcast: Broadcast, request: WatchRequest, sink: SessionSink): Promise<WatchReply> {
    const { rtc, metrics, addressKey } = this.#options;
    const { tracks, waits, show, own } = request;
    if (!waits && !broadcast.onAir) {
      throw new AppError('broadcast.notLive', `"${broadcast.name}" is not live.`, {
        context: { name: broadcast.name },
      });
    }
    const address = addressKey(request.remoteAddress);
    const place = this.#registry.viewerPlaces.take(broadcast.name, address);
    const session = newSessionId();
    let cancelEnd = (): void => {};
    const onClosed = (): void => {
      this.#sessions.delete(session);
      place.release();
      cancelEnd();
    };
    // Subscribed before the answer is made: the peer may report `connected` before accept() resolves.
    const viewer = broadcast.subscribe(
      (subscription) =>
        new Viewer(
          session,
          rtc,
          { maxOutput: broadcast.outputSize, tracks, show, own },
          sink,
          subscription,
          onClosed,
          address,
        ),
    );
    const arriving = this.#arrive('viewer', request);
    try {
      const sdp = await viewer.peer.accept(request.sdp);
      if (arriving.refused !== undefined) throw arriving.refused;
      this.#registry.refuseWhenDraining();
      refuseUnreadableSource(broadcast, viewer);
      viewer.knowState(broadcast.state);
      metrics.session('viewer');
      this.#sessions.set(session, { role: 'viewer', broadcast, viewer, holder: request.holder });
      cancelEnd = endAt(request.endsAtMs, () => void dismissViewer(broadcast, viewer, 'token expired', expired()));
      return { session, sdp, state: broadcast.state };
    } catch (error) {
      await broadcast.unsubscribe(session);
      throw error;
    } finally {
      this.#arriving.delete(arriving);
    }
  }

  #arrive(role: Arriving['role'], request: PublishRequest | WatchRequest): Arriving {
    const { name, holder } = request;
    const action = role === 'publisher' || ('own' in request && request.own === true) ? 'publish' : 'watch';
    const arriving: Arriving = { role, action, name, holder, refused: undefined };
    this.#arriving.add(arriving);
    return arriving;
  }

  show(session: string, shown: ShownPictures): void {
    const known = this.#sessions.get(session);
    if (known?.role !== 'viewer') {
      throw new AppError('request.unknownSession', 'This session has ended, or it does not watch.');
    }
    known.viewer.show(shown);
  }

  async restart(session: string, offerSdp: string): Promise<string> {
    return this.#peer(session).restart(offerSdp);
  }

  async restartIce(session: string, remote: IceParameters): Promise<IceParameters> {
    return this.#peer(session).restartIce(remote);
  }

  async addCandidate(session: string, candidate: IceCandidate): Promise<void> {
    await this.#peer(session).addCandidate(candidate);
  }

  async leave(session: string, cause: LeaveCause): Promise<void> {
    const known = this.#sessions.get(session);
    if (known === undefined) return;
    this.#sessions.delete(session);
    if (known.role === 'publisher') await known.broadcast.detach(known.publisher, cause);
    else await known.broadcast.unsubscribe(session);
    this.#registry.forgetIdle(known.broadcast);
  }

  async kick(name: string, error: AppError, onFound: (holder: string | undefined) => void): Promise<boolean> {
    const running = this.#publisherOf(name);
    const publishing = [...this.#arriving].filter(({ role }) => role === 'publisher');
    const arriving = publishing.filter((each) => each.name === name);
    const holders = running === undefined ? arriving.map(({ holder }) => holder) : [running.holder];
    for (const holder of holders) onFound(holder);
    // Whoever comes back again and again is on its way at any time: without this it would have the name that is free now.
    for (const each of publishing) {
      if (each.name === name || (each.holder !== undefined && holders.includes(each.holder))) each.refused = error;
    }
    if (running === undefined) return arriving.length > 0;
    await running.broadcast.dismiss(running.publisher, 'kicked', error);
    this.#registry.forgetIdle(running.broadcast);
    return true;
  }

  #publisherOf(name: string): Extract<Session, { role: 'publisher' }> | undefined {
    for (const session of this.#sessions.values()) {
      if (session.role === 'publisher' && session.broadcast.name === name) return session;
    }
    return undefined;
  }

  async endLost(
    lost: (holder: string, action: 'publish' | 'watch', name: string) => boolean,
    error: AppError,
  ): Promise<number> {
    // Their right was checked before it was taken back.
    for (const each of this.#arriving) {
      if (each.holder !== undefined && lost(each.holder, each.action, each.name)) each.refused = error;
    }
    const ending = [...this.#sessions.values()].filter((session) => {
      const { holder, broadcast } = session;
      // Whoever publishes may watch itself.
      const publishes = session.role === 'publisher' || session.viewer.own;
      return holder !== undefined && lost(holder, publishes ? 'publish' : 'watch', broadcast.name);
    });
    await Promise.all(
      ending.map(async (session) => {
        const { broadcast } = session;
        if (session.role === 'viewer') await dismissViewer(broadcast, session.viewer, 'token removed', error);
        else await broadcast.dismiss(session.publisher, 'token removed', error);
        this.#registry.forgetIdle(broadcast);
      }),
    );
    return ending.length;
  }

  list(): BroadcastList {
    return this.#registry.list();
  }

  onListChanged(listener: () => void): () => void {
    return this.#registry.onListChanged(listener);
  }

  #peer(session: string): Publisher['peer'] | Viewer['peer'] {
    const known = this.#sessions.get(session);
    if (known === undefined) throw new AppError('request.unknownSession', 'This session has ended or never was.');
    return known.role === 'publisher' ? known.publisher.peer : known.viewer.peer;
  }

  async #counted<T>(what: Refused, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (thrown) {
      const why = REFUSALS[AppError.from(thrown).code];
      if (why !== undefined) this.#options.metrics.refused(what, why);
      throw thrown;
    }
  }
}

/** The server ends a viewer's session: its client learns why. */
async function dismissViewer(broadcast: Broadcast, viewer: Viewer, reason: string, error: AppError): Promise<void> {
  viewer.onState('ended', reason, error);
  await broadcast.unsubscribe(viewer.id);
}

function expired(): AppError {
  return new AppError('access.expired', 'The token that this session was made with has expired.');
}

const REFUSALS: Partial<Record<ErrorCode, RefusalReason>> = {
  'server.full': 'limits',
  'engine.full': 'limits',
  'request.tooMany': 'address',
  'broadcast.nameTaken': 'name',
  'broadcast.notLive': 'name',
  'server.draining': 'draining',
  'sdp.invalid': 'protocol',
  'sdp.unsupported': 'protocol',
};

/** Packets of the source are forwarded as they are: a player of it alone that lacks its codec would stay black. */
function refuseUnreadableSource(broadcast: Broadcast, { peer }: Viewer): void {
  const { sourceCodec, sourceReordered, sourcePacketized, name } = broadcast;
  if (!peer.takesResult && sourceReordered) {
    throw new AppError(
      'sdp.unsupported',
      `The source of "${name}" has B-frames, which WebRTC players do not show in order.`,
      {
        remedy: 'Watch the result, or let the publisher switch B-frames off.',
      },
    );
  }
  if (!peer.takesResult && !sourcePacketized) {
    throw new AppError('sdp.unsupported', `The source of "${name}" is pulled ${sourceCodec}, which is not forwarded.`, {
      remedy: 'Watch the result.',
    });
  }
  if (peer.takesResult || sourceCodec === undefined || peer.sourceCodecs.includes(sourceCodec)) return;
  throw new AppError('sdp.unsupported', `The source of "${name}" is ${sourceCodec}, which the offer does not take.`, {
    remedy: `Offer ${sourceCodec}, or watch the result.`,
  });
}

/** Unguessable: WHIP and WHEP put it into URLs (RFC 9725 section 4.2). */
function newSessionId(): string {
  return randomBytes(18).toString('base64url');
}
