import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';

export type Address = readonly [host: string, port: number];

/** A keyframe for a viewer, or a burst of a publisher, fits while the event loop is busy with another peer. */
const BUFFER_BYTES = 1 << 20;

/**
 * A UDP socket in the shape of werift's. Ours, because theirs picks ports by opening and closing a probe socket first (two peers
 * may get the same), and any error of it - a port just taken, an unreachable network - is an unhandled event that ends the
 * process.
 */
export class UdpSocket {
  readonly type = 'udp';
  readonly socket: Socket;
  closed = false;
  onData: (data: Buffer, address: Address) => void = () => undefined;

  readonly addressFamily: 4 | 6;

  private constructor(socket: Socket, addressFamily: 4 | 6) {
    this.socket = socket;
    this.addressFamily = addressFamily;
    socket.on('error', () => undefined);
    socket.on('message', (data, { address, port }) => {
      const zone = address.indexOf('%'); // fe80::1%eth0
      try {
        this.onData(data, [zone < 0 ? address : address.slice(0, zone), port]);
      } catch {
        // Whatever a datagram does to its reader, it must not end the process: it is dropped like a damaged one.
      }
    });
  }

  /**
   * @param bindAddress decides the family; '0.0.0.0' and '::' listen on all interfaces
   * @param portRange first and last port, tried from a random one on; undefined: the system chooses
   * @throws the system's error, EADDRINUSE when the whole range is taken
   */
  static async open(bindAddress: string, portRange: readonly [number, number] | undefined): Promise<UdpSocket> {
    if (portRange === undefined) return UdpSocket.#bind(bindAddress, 0);
    const [first, last] = portRange;
    const count = last - first + 1;
    const start = randomInt(count);
    for (let offset = 0; ; offset += 1) {
      try {
        return await UdpSocket.#bind(bindAddress, first + ((start + offset) % count));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || offset + 1 >= count) throw error;
      }
    }
  }

  static async #bind(address: string, port: number): Promise<UdpSocket> {
    const family = isIPv6(address) ? 6 : 4;
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      ipv6Only: family === 6,
      // Only IP literals are sent to; resolving them costs as much as the rest of a send in JavaScript.
      lookup: (host, _options, resolved) => resolved(null, host, family),
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        reject(error);
      });
      socket.bind({ port, address, exclusive: true }, () => {
        socket.removeAllListeners('error');
        resolve();
      });
    });
    const opened = new UdpSocket(socket, family);
    try {
      socket.setRecvBufferSize(BUFFER_BYTES);
      socket.setSendBufferSize(BUFFER_BYTES);
    } catch {
      // The system's limit stands.
    }
    return opened;
  }

  get address(): { readonly address: string; readonly family: string; readonly port: number } {
    return this.socket.address();
  }

  get host(): string {
    return this.address.address;
  }

  get port(): number {
    return this.address.port;
  }

  /** Hands a datagram to the system; losing it there is like losing it on the way. */
  sendNow(data: Uint8Array, port: number, host: string): void {
    if (this.closed || isIPv6(host) !== (this.addressFamily === 6)) return;
    try {
      this.socket.send(data, port, host);
    } catch {
      // ERR_SOCKET_DGRAM_NOT_RUNNING between two packets of a burst, or a port of 0 in a forged message.
    }
  }

  /** For werift's STUN transactions. */
  readonly send = async (data: Buffer, address?: Address): Promise<void> => {
    if (address !== undefined) this.sendNow(data, address[1], address[0]);
  };

  readonly close = (): Promise<void> => {
    if (this.closed) return Promise.resolve();
    this.closed = true;
    return new Promise((resolve) => this.socket.close(() => resolve()));
  };
}
