import { isLoopbackAddress } from '../access/address.ts';
import { shownTarget, type TargetPolicy } from '../access/target-policy.ts';
import { AppError } from '../errors.ts';
import type { Purpose } from './refusal.ts';
import { postOffer, PostError, WHIP_SCHEMES, type WhipSession } from './whip-client.ts';

/** What of a WebRTC peer a WHIP or WHEP session carries to the target. */
export interface OfferingPeer {
  offer(): Promise<string>;
  acceptAnswer(answerSdp: string): Promise<void>;
  close(): Promise<void>;
}

/** For the peer that is to be made. */
export interface PeerNetwork {
  /** Which addresses of the answer may be sent to. */
  readonly allowsAddress: (address: string) => boolean;
  /** What it listens on. */
  readonly interfaceAddresses: readonly string[];
}

export interface ConnectionLimits {
  readonly postWithinMs?: number | undefined;
  /** A POST under way at the end: its answer alone names the session that is to be deleted. */
  readonly postGraceMs: number;
  /** How long DTLS waits for the DELETE: the target then knows that we have left, and not that our network has. */
  readonly deleteFirstMs: number;
}

export interface TargetConnectionOptions {
  readonly url: string;
  readonly purpose: Purpose;
  readonly bearer: string | undefined;
  readonly policy: TargetPolicy;
  /** `ice.interfaceAddresses`; a target on this machine is reached over its loopback interface. */
  readonly interfaceAddresses: readonly string[];
  /** The session goes on, or has ended, all the same. */
  readonly onFailed: (what: 'trickle' | 'delete', error: AppError) => void;
  readonly limits?: Partial<ConnectionLimits> | undefined;
}

const LIMITS: ConnectionLimits = { postGraceMs: 2_000, deleteFirstMs: 1_000 };
const LOOPBACK = ['127.0.0.1', '::1'];
/** Until the target or its setting is changed. */
const UNUSABLE_RETRY_MS = 60_000;

/** One WebRTC session with a server that we offer to, from the name's look-up to the DELETE. Whoever owns it watches the peer. */
export class TargetConnection {
  readonly #options: TargetConnectionOptions;
  readonly #limits: ConnectionLimits;
  readonly #cancel = new AbortController();
  #connecting: Promise<void> = Promise.resolve();
  #peer: OfferingPeer | undefined;
  #session: WhipSession | undefined;
  /** Found after the offer, and not yet sent. */
  #late: string[] = [];
  #trickling = false;
  #closing: Promise<void> | undefined;

  constructor(options: TargetConnectionOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
  }

  /** Scheme, host and port. */
  get target(): string {
    return shownTarget(new URL(this.#options.url));
  }

  /**
   * Once. Resolves when the peer has its answer, or close() was called.
   * @throws PostError
   */
  connect(create: (network: PeerNetwork) => OfferingPeer): Promise<void> {
    const connecting = this.#connect(create).catch((thrown: unknown) => {
      throw asPostError(thrown);
    });
    this.#connecting = connecting.catch(() => undefined);
    return connecting;
  }

  /** Why the peer has closed. @param connected it was connected before */
  lost(connected: boolean): AppError {
    if (connected) {
      return new AppError('peer.connection', `${this.target} ended the connection, or was silent for too long.`);
    }
    return new AppError('peer.connection', `No media path to ${this.target} was found.`, {
      remedy:
        "Check that UDP to the target's media addresses is open, and that targets.allow has them if they are private.",
    });
  }

  /** A candidate of the peer that its offer lacks, without `a=`: a PATCH takes it there as soon as there is a session. */
  addCandidate(candidate: string): void {
    this.#late.push(candidate);
    void this.#trickle();
  }

  /** DELETE, then the peer. Idempotent; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  get #over(): boolean {
    return this.#closing !== undefined;
  }

  async #connect(create: (network: PeerNetwork) => OfferingPeer): Promise<void> {
    const { url, purpose, bearer, policy, interfaceAddresses } = this.#options;
    const { addresses } = await policy.resolve(url, WHIP_SCHEMES);
    if (this.#over) return;
    const peer = create({
      allowsAddress: (address) => policy.permits(address),
      interfaceAddresses: addresses.every(isLoopbackAddress) ? LOOPBACK : interfaceAddresses,
    });
    this.#peer = peer;
    const offer = await peer.offer();
    if (this.#over) return;
    const request = { url, purpose, offer, bearer, policy, signal: this.#cancel.signal };
    const { postWithinMs } = this.#limits;
    const session = await postOffer(postWithinMs === undefined ? request : { ...request, withinMs: postWithinMs });
    this.#session = session;
    // close() ends what was made meanwhile.
    if (this.#over) return;
    await this.#accept(peer, session.answer);
    void this.#trickle();
  }

  /** @throws AppError target.answer */
  async #accept(peer: OfferingPeer, answer: string): Promise<void> {
    try {
      await peer.acceptAnswer(answer);
    } catch (thrown) {
      const { message, remedy } = AppError.from(thrown);
      const error = `The SDP of ${this.target} cannot be used. ${message}`;
      throw new AppError('target.answer', error, { remedy, cause: thrown });
    }
  }

  /** One PATCH at a time. A target that refuses one is not asked again: the path may be found without these candidates. */
  async #trickle(): Promise<void> {
    const session = this.#session;
    if (session === undefined || this.#trickling) return;
    this.#trickling = true;
    try {
      while (this.#late.length > 0 && !this.#over) await session.trickle(this.#late.splice(0));
      this.#trickling = false;
    } catch (thrown) {
      this.#options.onFailed('trickle', AppError.from(thrown));
    }
  }

  async #close(): Promise<void> {
    const grace = setTimeout(() => this.#cancel.abort(), this.#limits.postGraceMs);
    await this.#connecting;
    clearTimeout(grace);
    const deleted = this.#delete();
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#limits.deleteFirstMs);
    });
    await Promise.race([deleted, patience]);
    clearTimeout(timer);
    await this.#peer?.close();
    await deleted;
  }

  /** A target that cannot be asked learns of the end by DTLS. */
  async #delete(): Promise<void> {
    try {
      await this.#session?.end();
    } catch (thrown) {
      this.#options.onFailed('delete', AppError.from(thrown));
    }
  }
}

function asPostError(thrown: unknown): PostError {
  if (thrown instanceof PostError) return thrown;
  const error = AppError.from(thrown);
  // A resolver that fails is usually back soon.
  return new PostError(error, error.code === 'target.unreachable' ? 0 : UNUSABLE_RETRY_MS);
}
