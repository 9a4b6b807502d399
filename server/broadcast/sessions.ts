import type { AppError } from '../errors.ts';
import type { BroadcastList, BroadcastStats, ModelSummary, SessionState, ViewerSessionStats } from './statistics.ts';
import type { IceCandidate, IceParameters, IceServer, WatchedTracks } from '../rtc/peers.ts';

/**
 * What adapters need from the domain (implemented by PeerSessions, faked in tests). One session is one WebRTC peer: a
 * publisher's or a viewer's. The WebSocket server remembers which socket made which session, so the domain never sees a
 * session id that its caller does not own; ids are unguessable all the same, since WHIP and WHEP put them into URLs.
 *
 * Every method may throw (or reject with) an AppError; its code, message and remedy reach the client as they stand.
 */
export interface SessionService {
  /** What the server is; sent in `welcome`. Asked again for every socket, so a model change is seen. */
  welcome(): { readonly model: ModelSummary; readonly iceServers: readonly IceServer[] };

  /**
   * Starts a broadcast, or takes it over when `resumeToken` is that of its first publisher (the old publisher session, if
   * it is still there, gets state `ended` with error broadcast.nameTaken so that it does not fight back; viewers stay).
   * @throws AppError broadcast.nameTaken | server.full | engine.full | server.draining | sdp.invalid | sdp.unsupported
   */
  publish(request: PublishRequest, sink: SessionSink): Promise<PublishReply>;

  /**
   * Joins a broadcast. Before its publisher is there, a request with `waits` gets state `waiting` and the peer connects all the
   * same; another one is refused.
   * @throws AppError broadcast.notLive | server.full | server.draining | sdp.invalid | sdp.unsupported
   */
  watch(request: WatchRequest, sink: SessionSink): Promise<WatchReply>;

  /** Which pictures a viewer's session shows from now on. @throws AppError request.unknownSession */
  show(session: string, shown: ShownPictures): void;

  /** ICE restart or renegotiation of the same session. @returns the answer. @throws AppError request.unknownSession | sdp.* */
  restart(session: string, offerSdp: string): Promise<string>;

  /**
   * ICE restart without a new offer (RFC 8840 section 9). The credentials that the session has already change nothing.
   * @returns our side. @throws AppError request.unknownSession | request.tooMany | sdp.invalid; then the session goes on
   */
  restartIce(session: string, remote: IceParameters): Promise<IceParameters>;

  /** @throws AppError request.unknownSession | sdp.invalid */
  addCandidate(session: string, candidate: IceCandidate): Promise<void>;

  /**
   * Ends a session; unknown ones are ignored. After `request` a publisher's name is free at once; after `disconnected`
   * (its socket is gone) it stays reserved for broadcast.resumeSeconds if a picture has come. The sink is not called after this.
   */
  leave(session: string, cause: LeaveCause): Promise<void>;

  /**
   * Ends the publisher of a name, whose name is free at once; its client gets `error`. So does whoever is about to publish under the
   * name, or with the publisher's credential: its right was checked before.
   * @param onFound with the publisher's `holder`, before it can come back
   * @returns false when no publisher is there
   */
  kick(name: string, error: AppError, onFound: (holder: string | undefined) => void): Promise<boolean>;

  /**
   * Ends the sessions whose right has been taken back; their clients get `error`.
   * @param lost by the `holder` of their request, what they do and the broadcast's name
   * @returns how many there were
   */
  endLost(
    lost: (holder: string, action: 'publish' | 'watch', name: string) => boolean,
    error: AppError,
  ): Promise<number>;

  list(): BroadcastList;

  /** Calls back whenever list() would answer differently, merged to at most a few a second. @returns the unsubscriber */
  onListChanged(listener: () => void): () => void;
}

export type LeaveCause = 'request' | 'disconnected';

export interface PublishRequest {
  readonly name: string;
  readonly sdp: string;
  readonly resumeToken: string | undefined;
  /** Whether a free name gets a token of the server's or the publisher's own (ownership.ts). */
  readonly tokenKind: 'issued' | 'own';
  readonly remoteAddress: string;
  /** Digest of the credential that gave the right; for kick() and endLost(). */
  readonly holder?: string | undefined;
  /** The session ends with access.expired at this time, milliseconds of the wall clock. */
  readonly endsAtMs?: number | undefined;
}

export interface PublishReply {
  readonly session: string;
  readonly resumeToken: string;
  /** The SDP answer. */
  readonly sdp: string;
}

export interface WatchRequest {
  readonly name: string;
  readonly sdp: string;
  readonly tracks: WatchedTracks;
  /** It takes a broadcast that is not live yet. */
  readonly waits: boolean;
  /** Left out: all that it offers to take. */
  readonly show?: ShownPictures;
  /** The publisher watches itself: it is no viewer for those who count them. */
  readonly own?: boolean;
  readonly remoteAddress: string;
  /** Both as of PublishRequest. */
  readonly holder?: string | undefined;
  readonly endsAtMs?: number | undefined;
}

/** Pictures that a viewer does not show are not sent to it, and an encoder that serves no one else stops. */
export interface ShownPictures {
  readonly result: boolean;
  readonly source: boolean;
}

export interface WatchReply {
  readonly session: string;
  readonly sdp: string;
  readonly state: SessionState;
}

/**
 * The way back to one session's client; never throws, never blocks. May be called before publish()/watch() resolve: what
 * comes early is delivered right after the reply.
 */
export interface SessionSink {
  /** `ended` is the last call of a session; `error` says why when it was not the client's wish. */
  onState(state: SessionState, reason: string, error?: AppError): void;
  /** Once a second. Dropped for a client that does not read fast enough. */
  onStats(broadcast: BroadcastStats, viewer?: ViewerSessionStats): void;
  onCandidate(candidate: IceCandidate): void;
}
