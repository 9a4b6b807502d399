import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { clientAddress, contains, networkList, type TrustProxy } from '../access/client-address.ts';
import { AddressCount } from '../access/limits.ts';
import type { Config } from '../config/config.ts';

/** limits: the server has all it takes; address: one address has its share. */
export type RefusedConnection = 'limits' | 'address';

export interface ConnectionLimits {
  readonly limits: Pick<Config['limits'], 'maxSockets' | 'maxSocketsPerAddress' | 'maxConnectionsPerAddress'>;
  readonly trustProxy: TrustProxy;
  /** Called for each connection that was ended at once. */
  readonly onRefused: (why: RefusedConnection) => void;
}

/**
 * Every TCP connection of the server from its first byte: counted in total and by address, and ended at stop whatever state
 * it is in. Node's own list begins with a parsed request, so it misses connections in a TLS handshake, upgraded ones and
 * those that were refused an upgrade.
 */
export class Connections {
  readonly #sockets = new Set<Socket>();
  readonly #addresses: AddressCount;
  readonly #options: ConnectionLimits;

  constructor(server: Server, options: ConnectionLimits) {
    this.#options = options;
    const { maxSocketsPerAddress, maxConnectionsPerAddress } = options.limits;
    // A page needs a few connections beside its WebSocket.
    this.#addresses = new AddressCount(Math.max(maxSocketsPerAddress, maxConnectionsPerAddress + 16));
    server.on('connection', (socket) => this.#onConnection(socket));
  }

  get size(): number {
    return this.#sockets.size;
  }

  toJSON(): object {
    return { open: this.#sockets.size, addresses: this.#addresses.addresses };
  }

  /** Idempotent; sockets that come later are not affected. */
  destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #onConnection(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const address = socket.remoteAddress;
    // Gone already: accepted by the kernel, closed by the client before it was ours.
    if (address === undefined) {
      socket.destroy();
      return;
    }
    if (this.#sockets.size >= this.#options.limits.maxSockets) return this.#refuse(socket, 'limits');
    const counted = !this.#isProxy(address);
    if (counted && !this.#addresses.enter(address)) return this.#refuse(socket, 'address');
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (counted) this.#addresses.exit(address);
    });
  }

  /** A proxy's connections belong to many clients; those are counted by WebSocket (limits.maxConnectionsPerAddress). */
  #isProxy(address: string): boolean {
    const { trustProxy } = this.#options;
    if (trustProxy === false) return false;
    return (
      typeof trustProxy === 'number' || contains(networkList(trustProxy), clientAddress(address, undefined, false))
    );
  }

  #refuse(socket: Socket, why: RefusedConnection): void {
    socket.destroy();
    this.#options.onRefused(why);
  }
}
