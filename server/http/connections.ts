import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { clientAddress, contains, networkList, type TrustProxy } from '../access/client-address.ts';
import { addressKey } from '../access/limits.ts';
import type { Config } from '../config/config.ts';

/** limits: the server has all it takes; address: one address has its share. */
export type RefusedConnection = 'limits' | 'address';

export interface ConnectionLimits {
  readonly limits: Pick<Config['limits'], 'maxSockets' | 'maxSocketsPerAddress' | 'maxConnectionsPerAddress'>;
  readonly trustProxy: TrustProxy;
  /** Called for each connection that was ended by a limit. */
  readonly onRefused: (why: RefusedConnection) => void;
}

interface Connection {
  readonly socket: Socket;
  /** Requests being answered; Infinity once upgraded. */
  requests: number;
  /** When the first of them came, or the last answer was out. */
  waitsSinceMs: number;
  /** What the answer may take; RESPONSE_MS unless mayLast() was asked. */
  mostMs: number;
}

/** A response that a client has not read after this long is cut: the largest is a clip of some hundred kilobytes. */
const RESPONSE_MS = 45_000;
const CHECK_MS = 5_000;

/** A page needs a few connections beside its WebSockets. */
const BESIDE_WEBSOCKETS = 16;

/**
 * Every TCP connection of the server from its first byte: counted in total and by address, and ended at stop whatever state
 * it is in. Node's own list begins with a parsed request, so it misses connections in a TLS handshake, upgraded ones and
 * those that were refused an upgrade.
 *
 * At a limit the oldest connection without a complete request makes room for the new one; only when every connection is at
 * work the new one is refused. A client that holds idle connections so never keeps others of its address, or of another, out.
 */
export class Connections {
  /** In the order of their arrival, in total and by address. */
  readonly #all = new Set<Connection>();
  readonly #byAddress = new Map<string, Set<Connection>>();
  /** By the peer's address and port: a request over TLS has another socket object than the connection. */
  readonly #byPeer = new Map<string, Connection>();
  readonly #options: ConnectionLimits;
  readonly #mostPerAddress: number;

  constructor(server: Server, options: ConnectionLimits) {
    this.#options = options;
    const { maxSocketsPerAddress, maxConnectionsPerAddress } = options.limits;
    this.#mostPerAddress = Math.max(maxSocketsPerAddress, maxConnectionsPerAddress + BESIDE_WEBSOCKETS);
    server.on('connection', (socket) => this.#onConnection(socket));
    server.on('request', (request, response) => this.#onRequest(request, response));
    server.on('upgrade', ({ socket }) => {
      const connection = this.#byPeer.get(peerOf(socket));
      if (connection !== undefined) connection.requests = Infinity;
    });
    // By one timer: the responses behind one that is cut never close, and a timer of each would keep them.
    const timer = setInterval(() => this.#endUnread(performance.now()), CHECK_MS).unref();
    server.on('close', () => clearInterval(timer));
  }

  get size(): number {
    return this.#all.size;
  }

  toJSON(): object {
    const atWork = [...this.#all].filter(({ requests }) => requests > 0).length;
    return { open: this.#all.size, atWork, addresses: this.#byAddress.size };
  }

  /** The request that is being answered may take this long: a file. */
  mayLast(socket: Socket, ms: number): void {
    const connection = this.#byPeer.get(peerOf(socket));
    if (connection !== undefined) connection.mostMs = Math.max(RESPONSE_MS, ms);
  }

  /** Idempotent; sockets that come later are not affected. */
  destroyAll(): void {
    for (const { socket } of this.#all) socket.destroy();
  }

  #onConnection(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const address = socket.remoteAddress;
    // Gone already: accepted by the kernel, closed by the client before it was ours.
    if (address === undefined) {
      socket.destroy();
      return;
    }
    const key = this.#isProxy(address) ? undefined : addressKey(address);
    const ofAddress = key === undefined ? undefined : (this.#byAddress.get(key) ?? new Set<Connection>());
    if (ofAddress !== undefined && ofAddress.size >= this.#mostPerAddress) {
      if (!this.#makeRoom(ofAddress, 'address')) return this.#end(socket, 'address');
    } else if (this.#all.size >= this.#options.limits.maxSockets && !this.#makeRoom(this.#all, 'limits')) {
      return this.#end(socket, 'limits');
    }
    const connection: Connection = { socket, requests: 0, waitsSinceMs: 0, mostMs: RESPONSE_MS };
    const peer = peerOf(socket);
    this.#all.add(connection);
    this.#byPeer.set(peer, connection);
    if (key !== undefined && ofAddress !== undefined) this.#byAddress.set(key, ofAddress.add(connection));
    const forget = (): void => {
      this.#all.delete(connection);
      if (this.#byPeer.get(peer) === connection) this.#byPeer.delete(peer);
      ofAddress?.delete(connection);
      if (key !== undefined && ofAddress?.size === 0 && this.#byAddress.get(key) === ofAddress) {
        this.#byAddress.delete(key);
      }
    };
    socket.once('close', forget);
  }

  #onRequest({ socket }: IncomingMessage, response: ServerResponse): void {
    const connection = this.#byPeer.get(peerOf(socket));
    if (connection === undefined) return;
    if (connection.requests === 0) connection.waitsSinceMs = performance.now();
    connection.requests += 1;
    response.once('close', () => {
      connection.requests -= 1;
      connection.mostMs = RESPONSE_MS;
      connection.waitsSinceMs = performance.now();
    });
  }

  /** A client that reads in small steps is never idle, so its response has an end by the clock. */
  #endUnread(nowMs: number): void {
    for (const { socket, requests, waitsSinceMs, mostMs } of this.#all) {
      if (requests > 0 && requests !== Infinity && nowMs - waitsSinceMs > mostMs) socket.destroy();
    }
  }

  /** Ends the oldest idle connection of a set. @returns false when all of them are at work */
  #makeRoom(connections: Set<Connection>, why: RefusedConnection): boolean {
    for (const connection of connections) {
      if (connection.requests > 0 || connection.socket.destroyed) continue;
      this.#end(connection.socket, why);
      return true;
    }
    return false;
  }

  /** A proxy's connections belong to many clients; those are counted by WebSocket (limits.maxConnectionsPerAddress). */
  #isProxy(address: string): boolean {
    const { trustProxy } = this.#options;
    if (trustProxy === false) return false;
    return (
      typeof trustProxy === 'number' || contains(networkList(trustProxy), clientAddress(address, undefined, false))
    );
  }

  #end(socket: Socket, why: RefusedConnection): void {
    socket.destroy();
    this.#options.onRefused(why);
  }
}

function peerOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
