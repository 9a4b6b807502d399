import { lookup } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import { createTurnClient, type TurnProtocol } from 'werift';
import { AppError } from '../../errors.ts';
import type { RtcOptions } from '../peers.ts';
import { UdpSocket, type Address } from '../udp-socket.ts';
import { refreshChannelsEvery } from '../werift-internals.ts';
import {
  bindAddresses,
  candidatePriority,
  isAnyAddress,
  localAddresses,
  readIceServers,
  type Candidate,
} from './candidates.ts';
import type { IceBase } from './pair.ts';
import { buildQuery, newTransactionId, parseStun } from './stun.ts';

/** Our ends of a session's paths and their candidates (RFC 8445 section 5.1.1): sockets, STUN, a TURN relay by werift. */

export interface GatheringListener {
  onDatagram(data: Buffer, base: IceBase, from: Address): void;
  onCandidate(candidate: Candidate): void;
}

/** RFC 8489 section 6.2.1, a try less: gathering is long over by then. */
const QUERY_RETRANSMIT_MS = [500, 1000, 2000, 4000, 8000] as const;
/** RFC 8656 section 9: a permission lasts 300 s, and binding the channel again renews it. */
const CHANNEL_REFRESH_S = 240;

interface Query {
  readonly transactionId: Buffer;
  readonly server: Address;
  readonly resolve: (mapped: Address | undefined) => void;
}

class SocketBase implements IceBase {
  readonly type = 'host';
  readonly priority = candidatePriority('host');
  readonly id: number;
  readonly socket: UdpSocket;
  /** The address it is announced with. */
  readonly host: string;
  query: Query | undefined;

  constructor(id: number, socket: UdpSocket, host: string) {
    this.id = id;
    this.socket = socket;
    this.host = host;
  }

  get family(): 4 | 6 {
    return this.socket.addressFamily;
  }

  send(datagram: Buffer, [host, port]: Address): void {
    this.socket.sendNow(datagram, port, host);
  }

  toJSON(): object {
    return { type: this.type, host: this.host, port: this.socket.port };
  }
}

class RelayBase implements IceBase {
  readonly type = 'relay';
  readonly priority = candidatePriority('relay');
  readonly id: number;
  readonly turn: TurnProtocol;

  constructor(id: number, turn: TurnProtocol) {
    this.id = id;
    this.turn = turn;
  }

  get family(): 4 | 6 {
    return isIPv6(this.turn.relayedAddress[0]) ? 6 : 4;
  }

  send(datagram: Buffer, to: Address): void {
    this.turn.sendData(datagram, to).catch(() => undefined);
  }

  permit(host: string): void {
    if ((isIPv6(host) ? 6 : 4) === this.family) this.turn.getPermission([host, 9]).catch(() => undefined);
  }

  toJSON(): object {
    return { type: this.type, address: this.turn.relayedAddress };
  }
}

export class Gathering {
  readonly #options: RtcOptions;
  readonly #listener: GatheringListener;
  readonly #servers: ReturnType<typeof readIceServers>;
  readonly #sockets: SocketBase[] = [];
  readonly #reflexive = new Map<IceBase, Candidate>();
  #relay: RelayBase | undefined;
  #closed = false;

  /** @throws AppError config.invalid for servers that cannot be used */
  constructor(options: RtcOptions, listener: GatheringListener) {
    this.#options = options;
    this.#listener = listener;
    this.#servers = readIceServers(options);
  }

  get bases(): readonly IceBase[] {
    return this.#relay === undefined ? this.#sockets : [...this.#sockets, this.#relay];
  }

  /** All that are known so far. */
  get candidates(): readonly Candidate[] {
    const relay = this.#relay === undefined ? [] : [relayCandidate(this.#relay)];
    return [...this.#sockets.flatMap((base) => this.#hostCandidates(base)), ...this.#reflexive.values(), ...relay];
  }

  /** One socket per address to bind; an ICE restart keeps them. @throws AppError peer.connection */
  async open(): Promise<void> {
    let problem: unknown;
    for (const address of this.#sockets.length > 0 ? [] : bindAddresses(this.#options)) {
      try {
        const socket = await UdpSocket.open(address, this.#options.portRange);
        const host = isAnyAddress(address) ? (localAddresses(isIPv6(address))[0] ?? address) : address;
        const base = new SocketBase(this.#sockets.length, socket, host);
        socket.onData = (data, from) => this.#onData(data, base, from);
        this.#sockets.push(base);
      } catch (error) {
        problem = error;
      }
      if (this.#closed) await this.close();
    }
    if (this.#sockets.length > 0 || this.#closed) return;
    const reason = problem instanceof Error ? problem.message : 'no usable local address';
    throw new AppError('peer.connection', `No UDP socket could be opened for this peer: ${reason}.`, {
      cause: problem,
      remedy: 'Check ice.portRange (one port per peer and address) and ice.interfaceAddresses.',
    });
  }

  /** Asks the configured servers and no other. Resolves when all have answered or been given up; never rejects. */
  async gather(): Promise<void> {
    const { stunServer } = this.#servers;
    const asked = stunServer === undefined ? [] : this.#sockets.map((base) => this.#gatherReflexive(base, stunServer));
    await Promise.allSettled([...asked, this.#gatherRelay()]);
  }

  /** Idempotent. Resolves when sockets are closed. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const base of this.#sockets) base.query?.resolve(undefined);
    await Promise.all([
      ...this.#sockets.map((base) => base.socket.close()),
      this.#relay?.turn.close().catch(() => undefined),
    ]);
  }

  /**
   * A socket is announced with every address it can be reached under - its own or, when it listens on all interfaces, all
   * of them - and with the configured additional ones (NAT, containers).
   */
  #hostCandidates({ family, host, socket }: SocketBase): Candidate[] {
    if (socket.closed) return [];
    const all = this.#options.interfaceAddresses.length === 0;
    const own = all ? localAddresses(family === 6) : [host];
    const additional = this.#options.additionalHostAddresses.filter((address) => isIP(address) === family);
    return [...new Set([...additional, ...own])].map((address, rank) => ({
      type: 'host',
      host: address,
      port: socket.port,
      priority: candidatePriority('host', 65535 - rank),
    }));
  }

  async #gatherReflexive(base: SocketBase, [name, port]: Address): Promise<void> {
    const { address } = await lookup(name, { family: base.family });
    const mapped = await this.#query(base, [address, port]);
    if (mapped === undefined || this.#closed) return;
    const [host, mappedPort] = mapped;
    const candidate: Candidate = {
      type: 'srflx',
      host,
      port: mappedPort,
      priority: candidatePriority('srflx'),
      related: { host: base.host, port: base.socket.port },
    };
    const known = this.#reflexive.get(base);
    this.#reflexive.set(base, candidate);
    if (known?.host !== host || known.port !== mappedPort) this.#listener.onCandidate(candidate);
  }

  /** Retransmits until the server answers. @returns undefined without an answer */
  #query(base: SocketBase, server: Address): Promise<Address | undefined> {
    base.query?.resolve(undefined); // of the gathering before an ICE restart
    return new Promise((resolve) => {
      const transactionId = newTransactionId();
      const request = buildQuery(transactionId);
      let timer: NodeJS.Timeout | undefined;
      const query: Query = {
        transactionId,
        server,
        resolve: (mapped) => {
          clearTimeout(timer);
          if (base.query === query) base.query = undefined;
          resolve(mapped);
        },
      };
      const send = (attempt: number) => {
        const waitMs = QUERY_RETRANSMIT_MS[attempt];
        if (waitMs === undefined) return query.resolve(undefined);
        base.send(request, server);
        timer = setTimeout(() => send(attempt + 1), waitMs);
      };
      base.query = query;
      send(0);
    });
  }

  #onData(data: Buffer, base: SocketBase, from: Address): void {
    const { query } = base;
    const answers =
      query !== undefined && from[0] === query.server[0] && from[1] === query.server[1] && (data[0] as number) < 4;
    if (!answers) {
      this.#listener.onDatagram(data, base, from);
      return;
    }
    const message = parseStun(data);
    if (message === undefined || !message.transactionId.equals(query.transactionId)) return;
    query.resolve(message.messageClass === 'success' ? message.mappedAddress : undefined);
  }

  async #gatherRelay(): Promise<void> {
    const { turnServer, turnUsername: username, turnPassword: password, turnTransport = 'udp' } = this.#servers;
    if (turnServer === undefined || username === undefined || password === undefined) return;
    if (this.#relay !== undefined || this.#closed) return;
    const config = { address: turnServer, username, password };
    const turn = await createTurnClient(config, { transport: turnTransport }).catch((error: unknown) => {
      // A network that blocks UDP to the relay may let TCP through.
      if (turnTransport === 'udp') return createTurnClient(config, { transport: 'tcp' });
      throw error;
    });
    if (this.#closed) return turn.close();
    refreshChannelsEvery(turn, CHANNEL_REFRESH_S);
    const relay = new RelayBase(this.#sockets.length, turn);
    turn.onData.subscribe((data, from) => this.#listener.onDatagram(data, relay, from));
    this.#relay = relay;
    this.#listener.onCandidate(relayCandidate(relay));
  }
}

function relayCandidate({ turn, priority }: RelayBase): Candidate {
  const [host, port] = turn.relayedAddress;
  const [relatedHost, relatedPort] = turn.mappedAddress;
  return { type: 'relay', host, port, priority, related: { host: relatedHost, port: relatedPort } };
}
