import { randomBytes } from 'node:crypto';
import { AppError } from '../../errors.ts';
import type { SessionService, SessionSink } from '../../broadcast/sessions.ts';
import type { WatchedTracks } from '../../rtc/peers.ts';
import { checkBearer, digestOf } from '../../access/bearer.ts';
import {
  buildSdpFragment,
  firstSection,
  parseSdpFragment,
  usernameFragmentsOf,
  type SdpFragment,
} from './sdp-fragment.ts';

export type Front = 'whip' | 'whep';

export interface OpenRequest {
  readonly front: Front;
  readonly name: string;
  readonly offer: string;
  readonly bearer: string | undefined;
  readonly remoteAddress: string;
  /** Of a player. */
  readonly tracks: WatchedTracks;
  readonly waits: boolean;
  /** Of the right to do it (access/access.ts). */
  readonly holder?: string | undefined;
  readonly owner?: string | undefined;
  readonly endsAtMs?: number | undefined;
}

export interface Opened {
  readonly id: string;
  readonly answer: string;
  readonly etag: string;
}

interface Session {
  readonly front: Front;
  readonly bearer: Buffer | undefined;
  readonly section: readonly string[];
  /** Names the ICE session (RFC 9725 section 4.3.1). */
  etag: string;
  /** Of the client, in this ICE session. */
  usernameFragments: ReadonlySet<string>;
}

/**
 * The sessions that HTTP made, by the unguessable id in their URL: entity tags, ICE fragments and who may send them. Their
 * number is the domain's to bound; a session that ends for whatever reason is forgotten here.
 */
export class HttpSessions {
  readonly #sessions: SessionService;
  readonly #known = new Map<string, Session>();

  constructor(sessions: SessionService) {
    this.#sessions = sessions;
  }

  get size(): number {
    return this.#known.size;
  }

  /** No bodies, tokens or addresses. */
  toJSON(): object {
    return [...this.#known.values()].map(({ front, bearer }) => ({ front, bearer: bearer !== undefined }));
  }

  /** @throws AppError */
  async open(request: OpenRequest): Promise<Opened> {
    const sink = new EndSink();
    const { session, sdp } = await this.#ask(request, sink);
    const { front, offer, bearer } = request;
    const known: Session = {
      front,
      bearer: bearer === undefined ? undefined : digestOf(bearer),
      section: firstSection(sdp),
      etag: newEntityTag(),
      usernameFragments: usernameFragmentsOf(offer),
    };
    if (!sink.onEnd(() => this.#known.delete(session))) {
      throw sink.error ?? new AppError('peer.connection', 'The session ended before it was answered.');
    }
    this.#known.set(session, known);
    return { id: session, answer: sdp, etag: known.etag };
  }

  /**
   * Trickled candidates, or an ICE restart.
   * @returns the fragment and entity tag of a restart, undefined for candidates
   * @throws AppError; the session goes on whatever went wrong
   */
  async patch(
    front: Front,
    id: string,
    {
      body,
      ifMatch,
      bearer,
    }: { readonly body: string; readonly ifMatch: string | undefined; readonly bearer: string | undefined },
  ): Promise<{ readonly fragment: string; readonly etag: string } | undefined> {
    const session = this.#own(front, id, bearer);
    const fragment = parseSdpFragment(body);
    if (ifMatch === undefined) {
      throw new AppError('request.preconditionRequired', 'A PATCH needs If-Match with the entity tag of the session.');
    }
    const restarts = isAny(ifMatch) && !belongs(session, fragment);
    if (restarts) return this.#restart(id, session, fragment);
    if (!isAny(ifMatch) && !tagsOf(ifMatch).includes(session.etag)) {
      throw new AppError('request.precondition', 'The entity tag is of an earlier ICE session.');
    }
    if (!belongs(session, fragment)) {
      throw new AppError('sdp.unsupported', 'The fragment has other ICE credentials than the session.', {
        remedy: 'Restart ICE with If-Match: "*".',
      });
    }
    for (const candidate of fragment.candidates) await this.#sessions.addCandidate(id, { candidate });
    return undefined;
  }

  /** @throws AppError request.unknownSession | request.unauthorized | request.forbidden */
  async end(front: Front, id: string, bearer: string | undefined): Promise<void> {
    this.#own(front, id, bearer);
    this.#known.delete(id);
    await this.#sessions.leave(id, 'request');
  }

  /** The client went away before it knew the session. */
  async abandon(id: string): Promise<void> {
    this.#known.delete(id);
    await this.#sessions.leave(id, 'disconnected');
  }

  /** @throws AppError request.unknownSession | request.unauthorized | request.forbidden */
  check(front: Front, id: string, bearer: string | undefined): void {
    void this.#own(front, id, bearer);
  }

  #ask(request: OpenRequest, sink: SessionSink) {
    const { front, name, offer, bearer, tracks, waits, remoteAddress, holder, owner, endsAtMs } = request;
    const session = { name, sdp: offer, remoteAddress, holder, endsAtMs };
    if (front === 'whep') return this.#sessions.watch({ ...session, tracks, waits }, sink);
    // The name belongs to the subject of a token that is renewed, otherwise to the token.
    return this.#sessions.publish({ ...session, resumeToken: owner ?? bearer, tokenKind: 'own' }, sink);
  }

  async #restart(id: string, session: Session, { credentials, candidates }: SdpFragment) {
    if (credentials === undefined) {
      throw new AppError('sdp.invalid', 'An ICE restart needs a=ice-ufrag and a=ice-pwd.');
    }
    const local = await this.#sessions.restartIce(id, { ...credentials, candidates });
    session.usernameFragments = new Set([credentials.usernameFragment]);
    session.etag = newEntityTag();
    return { fragment: buildSdpFragment(local, session.section), etag: session.etag };
  }

  #own(front: Front, id: string, bearer: string | undefined): Session {
    const session = this.#known.get(id);
    if (session?.front !== front) throw new AppError('request.unknownSession', 'This session has ended or never was.');
    checkBearer(session.bearer, bearer);
    return session;
  }
}

/** Hears of the end; HTTP has no way to push states, statistics or late candidates. */
class EndSink implements SessionSink {
  #ended = false;
  #listener: (() => void) | undefined;
  error: AppError | undefined;

  /** @returns false when the end has come already */
  onEnd(listener: () => void): boolean {
    this.#listener = listener;
    return !this.#ended;
  }

  onState(state: string, _reason: string, error?: AppError): void {
    if (state !== 'ended') return;
    this.#ended = true;
    this.error = error;
    this.#listener?.();
  }

  onStats(): void {}

  onCandidate(): void {}
}

/** Strong (RFC 9110 section 8.8.3). */
function newEntityTag(): string {
  return `"${randomBytes(9).toString('base64url')}"`;
}

/** Quoted as RFC 9725's examples have it, or bare as RFC 9110 section 13.1.1 does. */
function isAny(ifMatch: string): boolean {
  return ['*', '"*"'].includes(ifMatch.trim());
}

function tagsOf(ifMatch: string): readonly string[] {
  return ifMatch.split(',').map((tag) => tag.trim());
}

/** A fragment without credentials is of the ICE session that its entity tag names. */
function belongs({ usernameFragments }: Session, { credentials }: SdpFragment): boolean {
  return credentials === undefined || usernameFragments.has(credentials.usernameFragment);
}
