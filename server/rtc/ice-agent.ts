import { isIP, isIPv6 } from 'node:net';
import {
  Candidate,
  CandidatePair,
  Connection,
  StunProtocol,
  candidateFoundation,
  candidatePriority,
  classes,
  parseMessage,
  serverReflexiveCandidate,
} from 'werift';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { MonotonicUs } from '../media/types.ts';
import {
  bindAddresses,
  candidateLine,
  isAnyAddress,
  localAddresses,
  parseCandidate,
  readIceServers,
} from './candidates.ts';
import type { IceCandidate, RtcOptions } from './peers.ts';
import { safely } from './safely.ts';
import type { RemoteTransportParameters } from './transport-parameters.ts';
import { UdpSocket, type Address } from './udp-socket.ts';
import {
  addSocket,
  appendLocalCandidate,
  forgetRequests,
  receiveStun,
  type IceConnection,
  type IceProtocol,
} from './werift-internals.ts';

/** Where packets go: through one of our sockets, or through a TURN relay. */
export type IcePath = { readonly address: Address } & (
  { readonly socket: UdpSocket } | { readonly relay: IceProtocol }
);

export interface IceListener {
  /** A datagram that is not STUN. @param path undefined: it came through the relay */
  onDatagram(data: Buffer, path: IcePath | undefined): void;
  /** A candidate found after the description was made. */
  onCandidate(candidate: IceCandidate): void;
  /** A pair was nominated. */
  onConnected(): void;
}

export interface LocalIceParameters {
  readonly usernameFragment: string;
  readonly password: string;
  /** candidate-attribute values of RFC 8839 section 5.1, without `a=`. */
  readonly candidates: readonly string[];
  readonly gatheringComplete: boolean;
}

const GATHER_WAIT_MS = 1000;
const MAX_REMOTE_CANDIDATES = 64;
const MAX_VALIDATED_ADDRESSES = 64;

/** Finds the path to one peer (RFC 8445): sockets, candidates, connectivity checks, nomination. The checks are werift's. */
export class IceAgent {
  /** STUN requests without this session's integrity. */
  refused = 0;
  lastReceivedUs: MonotonicUs = 0;
  readonly #options: RtcOptions;
  readonly #listener: IceListener;
  readonly #ice: IceConnection;
  readonly #stunServer: Address | undefined;
  readonly #sockets = new Map<IceProtocol, UdpSocket>();
  readonly #validated = new Set<string>();
  #path: IcePath | undefined;
  #nominated: CandidatePair | undefined;
  #described = false;
  #gathered = false;
  #closed = false;
  #remoteCandidates = 0;

  constructor(options: RtcOptions, listener: IceListener) {
    this.#options = options;
    this.#listener = listener;
    const servers = readIceServers(options);
    this.#ice = new Connection(false, {
      // Host candidates are made here (#openSockets), not by werift: it binds every interface when none matches its filter.
      useIpv4: false,
      useIpv6: false,
      turnServer: servers.turnServer,
      turnUsername: servers.turnUsername,
      turnPassword: servers.turnPassword,
      turnTransport: servers.turnTransport,
    });
    // Without a configured server werift falls back to a public one of its own; only configured servers are contacted.
    this.#ice.stunServer = servers.stunServer;
    this.#stunServer = servers.stunServer;
    this.#ice.onIceCandidate.subscribe((candidate) => this.#onLocalCandidate(candidate));
    this.#ice.onData.subscribe((data) => listener.onDatagram(data, undefined));
  }

  /** Of the last STUN transaction; undefined before one. */
  get roundTripUs(): number | undefined {
    const seconds = this.#ice.nominated?.rtt;
    return seconds === undefined ? undefined : seconds * 1e6;
  }

  /** Takes the offer's parameters, gathers (at most a second) and starts connecting. @throws AppError */
  async start(remote: RemoteTransportParameters): Promise<LocalIceParameters> {
    this.#ice.setRemoteParams({ ...remote });
    this.#ice.iceControlling = remote.iceLite;
    await this.#gather();
    this.#connect();
    return this.#describe();
  }

  /** ICE restart (RFC 8839 section 4.4.1.1.1): the old path stays in use until a new pair is nominated. */
  async restart(remote: RemoteTransportParameters): Promise<LocalIceParameters> {
    this.#described = false;
    this.#remoteCandidates = 0;
    await this.#ice.restart();
    this.#ice.setRemoteParams({ ...remote });
    await this.#gather();
    this.#connect();
    return this.#describe();
  }

  async addCandidate(json: IceCandidate): Promise<void> {
    if (this.#closed || json.candidate === '') return;
    const candidate = parseCandidate(json.candidate);
    // Names (mDNS) are not resolved: the browser's own checks arrive here and make a peer-reflexive pair at once.
    if (candidate === undefined || isIP(candidate.host) === 0) return;
    if (isIPv6(candidate.host) && !this.#options.ipv6) return;
    this.#remoteCandidates += 1;
    if (this.#remoteCandidates > MAX_REMOTE_CANDIDATES) return;
    await this.#ice.addRemoteCandidate(candidate);
  }

  /** An authentic connectivity check came from there. */
  isValidated(path: IcePath): boolean {
    return this.#validated.has(addressKey(path.address));
  }

  /** Sends there until a pair is nominated. */
  useUntilNominated(path: IcePath): void {
    if (this.#ice.nominated === undefined) this.#path = path;
  }

  /** @returns false while there is no path */
  send(data: Buffer): boolean {
    if (this.#path === undefined) this.#followNomination();
    const path = this.#path;
    if (path === undefined) return false;
    if ('socket' in path) path.socket.sendNow(data, path.address[1], path.address[0]);
    else path.relay.sendData(data, path.address).catch(() => undefined);
    return true;
  }

  /** To be called every 10 to 100 ms. */
  tick(): void {
    this.#followNomination();
  }

  /** Once a minute: drops what a long session would otherwise collect. */
  trim(): void {
    forgetRequests(this.#ice);
  }

  /** Idempotent. Resolves when sockets are closed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#path = undefined;
    await this.#ice.close().catch(() => undefined);
    // After a close in the middle of gathering some are not in werift's list yet.
    await Promise.all([...this.#sockets.values()].map((socket) => socket.close()));
    this.#sockets.clear();
    this.#ice.onData.complete();
    this.#ice.onIceCandidate.complete();
    this.#ice.stateChanged.complete();
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new AppError('request.unknownSession', 'The peer connection is closed.');
  }

  async #gather(): Promise<void> {
    await this.#openSockets();
    if (this.#closed) await this.#ice.close(); // closed while the sockets were being opened
    this.#throwIfClosed();
    // Host candidates are there at once, TURN and STUN take their time: later ones trickle.
    const gathering = Promise.all([this.#ice.gatherCandidates(), this.#gatherReflexive()]).catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, GATHER_WAIT_MS);
    });
    this.#gathered = false;
    void gathering.then(() => (this.#gathered = true));
    await Promise.race([gathering, patience]);
    clearTimeout(timer);
    this.#throwIfClosed();
  }

  /** One socket per address to bind; an ICE restart keeps them. @throws AppError peer.connection */
  async #openSockets(): Promise<void> {
    if (this.#sockets.size > 0) return;
    let problem: unknown;
    for (const address of bindAddresses(this.#options)) {
      try {
        const socket = await UdpSocket.open(address, this.#options.portRange);
        const host = isAnyAddress(address) ? (localAddresses(isIPv6(address))[0] ?? address) : address;
        const candidate = new Candidate(
          candidateFoundation('host', 'udp', host),
          1,
          'udp',
          candidatePriority('host', { transport: 'udp' }),
          host,
          socket.port,
          'host',
          undefined,
          undefined,
          undefined,
          this.#ice.generation,
          this.#ice.localUsername,
        );
        const protocol = addSocket(this.#ice, socket, address, candidate);
        socket.onData = (data, from) => this.#onSocketData(data, from, socket, protocol);
        this.#sockets.set(protocol, socket);
      } catch (error) {
        problem = error;
      }
    }
    if (this.#sockets.size > 0) return;
    const reason = problem instanceof Error ? problem.message : 'no usable local address';
    throw new AppError('peer.connection', `No UDP socket could be opened for this peer: ${reason}.`, {
      cause: problem,
      remedy: 'Check ice.portRange (one port per peer and address) and ice.interfaceAddresses.',
    });
  }

  async #gatherReflexive(): Promise<void> {
    const server = this.#stunServer;
    if (server === undefined) return;
    const generation = this.#ice.generation;
    const ask = [...this.#sockets.keys()].map(async (protocol) => {
      const candidate = await serverReflexiveCandidate(protocol, server);
      if (candidate !== undefined && this.#ice.generation === generation && !this.#closed) {
        appendLocalCandidate(this.#ice, candidate);
      }
    });
    await Promise.allSettled(ask);
  }

  /** Runs until a pair is nominated; failing here is not fatal, the peer's checks may still validate a path. */
  #connect(): void {
    this.#ice
      .connect()
      .then(() => {
        this.#followNomination();
        if (!this.#closed) this.#listener.onConnected();
      })
      .catch(() => undefined);
  }

  #describe(): LocalIceParameters {
    this.#described = true;
    const candidates: string[] = [];
    for (const candidate of this.#ice.localCandidates) candidates.push(...this.#announce(candidate));
    return {
      usernameFragment: this.#ice.localUsername,
      password: this.#ice.localPassword,
      candidates: [...new Set(candidates)],
      gatheringComplete: this.#gathered,
    };
  }

  /**
   * A host candidate stands for its socket: it is announced with every address the socket can be reached under - its own
   * or, when it listens on all interfaces, all of them - and with the configured additional ones (NAT, containers).
   */
  #announce(candidate: Candidate): string[] {
    if (candidate.type !== 'host') return [candidateLine(candidate, candidate.host, candidate.priority)];
    const family = isIPv6(candidate.host) ? 6 : 4;
    const all = this.#options.interfaceAddresses.length === 0;
    const own = all ? localAddresses(family === 6) : [candidate.host];
    const additional = this.#options.additionalHostAddresses.filter((address) => isIP(address) === family);
    return [...new Set([...additional, ...own])].map((address, rank) =>
      candidateLine(candidate, address, candidatePriority('host', 65535 - rank)),
    );
  }

  #onLocalCandidate(candidate: Candidate): void {
    if (!this.#described) return;
    for (const text of this.#announce(candidate)) this.#listener.onCandidate({ candidate: text, sdpMLineIndex: 0 });
  }

  /** Media needs none of werift's per-packet work, and unauthenticated STUN stops here. */
  #onSocketData(data: Buffer, from: Address, socket: UdpSocket, protocol: StunProtocol): void {
    const first = data[0];
    if (first === undefined) return;
    if (first >= 4) this.#listener.onDatagram(data, { socket, address: from });
    else if (this.#acceptsStun(data, from)) receiveStun(protocol, data, from);
  }

  /**
   * Requests must carry a valid MESSAGE-INTEGRITY of this session (RFC 8445 section 7.3); werift answers any. Responses
   * are checked by werift against their transaction.
   */
  #acceptsStun(data: Buffer, address: Address): boolean {
    this.lastReceivedUs = monotonicUs();
    const message = safely(() => parseMessage(data));
    if (message === undefined) return false;
    if (message.messageClass !== classes.REQUEST) return true;
    const username: unknown = message.getAttributeValue('USERNAME');
    if (typeof username !== 'string') return false;
    const password = this.#ice.userHistory[username.split(':')[0] ?? ''];
    if (password === undefined || safely(() => parseMessage(data, Buffer.from(password, 'utf8'))) === undefined) {
      this.refused += 1;
      return false;
    }
    if (this.#validated.size < MAX_VALIDATED_ADDRESSES) this.#validated.add(addressKey(address));
    return true;
  }

  /** The nominated pair decides where media goes; until there is one, the address DTLS came from. */
  #followNomination(): void {
    const pair = this.#ice.nominated;
    if (pair === undefined) return;
    const { host, port } = pair.remoteCandidate;
    if (this.#nominated === pair && this.#path?.address[0] === host && this.#path.address[1] === port) return;
    this.#nominated = pair;
    const socket = this.#sockets.get(pair.protocol);
    const address: Address = [host, port];
    this.#path = socket === undefined ? { relay: pair.protocol, address } : { socket, address };
  }
}

function addressKey(address: Address): string {
  return `${address[0]}|${address[1]}`;
}
