import { randomBytes } from 'node:crypto';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { MonotonicUs } from '../media/types.ts';
import { candidateLine, type Candidate } from './ice/candidates.ts';
import { ConnectivityChecks } from './ice/checks.ts';
import { Gathering } from './ice/gathering.ts';
import type { CandidatePair, Credentials, IceBase } from './ice/pair.ts';
import { RemoteCandidates, visitorPolicy, type CandidatePolicy } from './ice/remote-candidates.ts';
import type { IceCandidate, RtcOptions } from './peers.ts';
import type { RemoteTransportParameters } from './transport-parameters.ts';
import type { Address } from './udp-socket.ts';

export type { IceBase } from './ice/pair.ts';

export interface IceListener {
  /** A datagram that is not STUN. */
  onDatagram(data: Buffer, base: IceBase, from: Address): void;
  /** A candidate found after the description was made. */
  onCandidate(candidate: IceCandidate): void;
  /** A pair was selected: there is a path. */
  onConnected(): void;
}

export interface LocalIceParameters {
  readonly usernameFragment: string;
  readonly password: string;
  /** candidate-attribute values of RFC 8839 section 5.1, without `a=`. */
  readonly candidates: readonly string[];
  readonly gatheringComplete: boolean;
}

/** The other end is a server that our configuration names, and that we offer to; not a peer that came to us. */
export interface IceTarget {
  /** Addresses of its answer that may be sent to. */
  readonly allows: CandidatePolicy;
}

const GATHER_WAIT_MS = 1000;
const RESTART_INTERVAL_US = 1_000_000;
/** Its checks may be lost like ours, and an ICE-lite server sends none: every address of its answer gets a full transaction. */
const TARGET_BOUNDS = { bytes: 16 * 1024, sendsPerPair: 4 };
/** Checks that overtake the answer: a few for each of our sockets. */
const MAX_EARLY = 16;

/**
 * Finds and keeps the path to one peer (RFC 8445): sockets and candidates by Gathering, checks and nomination by
 * ConnectivityChecks. Controlled, unless the peer is ICE-lite or a target that we offer to.
 */
export class IceAgent {
  readonly #listener: IceListener;
  readonly #gathering: Gathering;
  readonly #remote: RemoteCandidates;
  readonly #checks: ConnectivityChecks;
  /** Where DTLS came from while no pair works in both directions yet. */
  #provisional: CandidatePair | undefined;
  #described = false;
  #gathered = false;
  #closed = false;
  #credentials: Credentials | undefined;
  #restartedAtUs: MonotonicUs | undefined;
  readonly #controlling: boolean;
  /** Of our offer, until the answer is there. */
  #offered: OwnCredentials | undefined;
  #early: { readonly data: Buffer; readonly base: IceBase; readonly from: Address }[] = [];

  constructor(options: RtcOptions, listener: IceListener, target?: IceTarget) {
    this.#listener = listener;
    this.#controlling = target !== undefined;
    this.#remote = new RemoteCandidates(target?.allows ?? visitorPolicy(options.interfaceAddresses));
    const bounds = target === undefined ? undefined : TARGET_BOUNDS;
    this.#checks = new ConnectivityChecks(this.#controlling, { onSelected: () => listener.onConnected() }, bounds);
    this.#gathering = new Gathering(options, {
      onDatagram: (data, base, from) => this.#onDatagram(data, base, from),
      onCandidate: (candidate) => this.#onLocalCandidate(candidate),
    });
  }

  /** Of the last check that was answered at its first transmission; undefined before one. */
  get roundTripUs(): number | undefined {
    return this.#checks.usable?.roundTripUs;
  }

  /** When the peer last answered a check with its integrity. */
  get consentedAtUs(): MonotonicUs {
    return this.#checks.consentedAtUs;
  }

  /** Datagrams that were not STUN of this session. */
  get refused(): number {
    return this.#checks.counters.refused;
  }

  /** Our side first, gathered for at most a second: start() takes the answer. @throws AppError */
  async offer(): Promise<LocalIceParameters> {
    await this.#gathering.open();
    await this.#gather();
    this.#offered = newCredentials();
    return this.#describe(this.#offered);
  }

  /**
   * Takes the peer's parameters and starts connecting. Answering, gathers before that (at most a second).
   * @throws AppError
   */
  async start(remote: RemoteTransportParameters): Promise<LocalIceParameters> {
    if (this.#offered !== undefined) return this.#connect(remote, this.#offered);
    await this.#gathering.open();
    return this.#begin(remote);
  }

  /**
   * A later description. The same credentials change nothing; others restart ICE (RFC 8839 section 4.4.1.1.1), and the old
   * path stays in use until a new pair is nominated.
   * @throws AppError request.tooMany when the last restart was less than a second ago
   */
  async update(remote: RemoteTransportParameters): Promise<LocalIceParameters> {
    this.#throwIfClosed();
    const current = this.#credentials;
    if (current?.remoteUfrag === remote.usernameFragment && current.remotePassword === remote.password) {
      return this.#describe(current);
    }
    const nowUs = monotonicUs();
    if (this.#restartedAtUs !== undefined && nowUs - this.#restartedAtUs < RESTART_INTERVAL_US) {
      throw new AppError('request.tooMany', 'This session restarts ICE more than once a second.', {
        remedy: 'Wait a second between ICE restarts.',
      });
    }
    this.#restartedAtUs = nowUs;
    return this.#begin(remote);
  }

  addCandidate(json: IceCandidate): void {
    if (this.#closed) return;
    // Names (mDNS) are not resolved: the browser's own checks arrive here and make a peer-reflexive pair at once.
    const candidate = this.#remote.add(json.candidate);
    if (candidate !== undefined) this.#checks.addRemote(candidate, this.#gathering.bases, monotonicUs());
  }

  /** An authentic connectivity check of this session came from there. */
  isKnown(base: IceBase, from: Address): boolean {
    const pair = this.#checks.find(base, from);
    return pair !== undefined && pair.receivedBytes > 0;
  }

  /** DTLS came from there: until a pair works, answers go back to it, within the amplification bound. */
  useUntilConnected(base: IceBase, from: Address, bytes: number): void {
    if (this.#checks.usable !== undefined) return;
    this.#provisional = this.#checks.find(base, from);
    this.#provisional?.received(bytes, monotonicUs());
  }

  /** @returns false while there is no path */
  send(data: Buffer): boolean {
    if (this.#closed) return false;
    const pair = this.#checks.usable ?? this.#provisional;
    if (pair === undefined || !pair.mayReceive(data.length)) return false;
    pair.send(data);
    return true;
  }

  /** To be called every 10 to 50 ms. */
  tick(nowUs: MonotonicUs): void {
    if (!this.#closed) this.#checks.tick(nowUs);
  }

  /** Idempotent. Resolves when sockets are closed. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#gathering.close();
  }

  toJSON(): object {
    return {
      local: this.#gathering.candidates.map(candidateLine),
      remoteCandidates: this.#remote.all.length,
      remoteCandidatesRefused: this.#remote.refused,
      checksBeforeAnswer: this.#early.length,
      checks: this.#checks,
    };
  }

  async #begin(remote: RemoteTransportParameters): Promise<LocalIceParameters> {
    this.#throwIfClosed();
    this.#described = false;
    await this.#gather();
    return this.#connect(remote, newCredentials());
  }

  #connect(remote: RemoteTransportParameters, own: OwnCredentials): LocalIceParameters {
    this.#throwIfClosed();
    const credentials = { ...own, remoteUfrag: remote.usernameFragment, remotePassword: remote.password };
    this.#checks.start(credentials, this.#controlling || remote.iceLite);
    this.#credentials = credentials;
    const early = this.#early;
    this.#early = [];
    for (const { data, base, from } of early) this.#checks.receive(data, base, from, monotonicUs());
    return this.#describe(credentials);
  }

  #describe({ localUfrag, localPassword }: OwnCredentials): LocalIceParameters {
    this.#described = true;
    return {
      usernameFragment: localUfrag,
      password: localPassword,
      candidates: [...new Set(this.#gathering.candidates.map(candidateLine))],
      gatheringComplete: this.#gathered,
    };
  }

  /** Host candidates are there at once, TURN and STUN take their time: later ones trickle. */
  async #gather(): Promise<void> {
    this.#gathered = false;
    const gathering = this.#gathering.gather().then(() => (this.#gathered = true));
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, GATHER_WAIT_MS);
    });
    await Promise.race([gathering, patience]);
    clearTimeout(timer);
    this.#throwIfClosed();
  }

  #pairAll(): void {
    for (const candidate of this.#remote.all) {
      this.#checks.addRemote(candidate, this.#gathering.bases, monotonicUs());
    }
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new AppError('request.unknownSession', 'The peer connection is closed.');
  }

  #onLocalCandidate(candidate: Candidate): void {
    // A new relay lets the peer's candidates in that came before it.
    if (candidate.type === 'relay') this.#pairAll();
    if (this.#described) this.#listener.onCandidate({ candidate: candidateLine(candidate), sdpMLineIndex: 0 });
  }

  #onDatagram(data: Buffer, base: IceBase, from: Address): void {
    const first = data[0];
    if (first === undefined || this.#closed) return;
    if (first >= 4) this.#listener.onDatagram(data, base, from);
    else if (this.#credentials !== undefined) this.#checks.receive(data, base, from, monotonicUs());
    else if (this.#offered !== undefined && this.#early.length < MAX_EARLY) this.#early.push({ data, base, from });
  }
}

type OwnCredentials = Pick<Credentials, 'localUfrag' | 'localPassword'>;

function newCredentials(): OwnCredentials {
  return { localUfrag: randomBytes(4).toString('hex'), localPassword: randomBytes(16).toString('hex') };
}
