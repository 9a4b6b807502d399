import { createSocket, type Socket } from 'node:dgram';

/** One direction of a simulated network path. */
export interface LinkOptions {
  readonly lossPercent?: number;
  readonly delayMs?: number;
  /** Bottleneck, bits per second, with a queue of queueMs that drops at its tail. */
  readonly bitrateBps?: number;
  readonly queueMs?: number;
}

export interface LinkStats {
  readonly forwarded: number;
  readonly dropped: number;
}

function newSocket(): Socket {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
  socket.on('error', () => undefined);
  return socket;
}

/**
 * A UDP path with loss, delay and a bottleneck between a peer and the server, put in place through the SDP: the answer
 * names the link's port instead of the server's, and the offer's candidates are taken out, so that nothing goes around it.
 */
export class Link {
  readonly #peerSide: Socket;
  /** By the peer's port, as a NAT has them: a browser checks the path from several sockets and uses one. */
  readonly #serverSides = new Map<number, Socket>();
  #up: Direction;
  #down: Direction;
  #serverPort = 0;

  private constructor(peerSide: Socket, up: LinkOptions, down: LinkOptions) {
    this.#peerSide = peerSide;
    this.#up = new Direction(up);
    this.#down = new Direction(down);
    peerSide.on('message', (data, { port }) => {
      const serverSide = this.#serverSides.get(port) ?? this.#open(port);
      this.#up.carry(data, () => serverSide.send(data, this.#serverPort, '127.0.0.1'));
    });
  }

  /** @param up peer to server; @param down server to peer */
  static async open(up: LinkOptions = {}, down: LinkOptions = {}): Promise<Link> {
    const peerSide = newSocket();
    await new Promise<void>((resolve) => peerSide.bind(0, '127.0.0.1', resolve));
    return new Link(peerSide, up, down);
  }

  /** Wraps signalling: offer in, answer out. */
  signal(accept: (offer: string) => Promise<string>): (offer: string) => Promise<string> {
    return async (offer) => {
      const answer = await accept(offer.replace(/^a=(candidate:.*|end-of-candidates)\r\n/gm, ''));
      this.#serverPort = Number(/^a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+) typ host/m.exec(answer)?.[1]);
      const own = this.#peerSide.address().port;
      return answer.replace(/^(a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1) \d+ /gm, `$1 ${own} `);
    };
  }

  change(up: LinkOptions, down: LinkOptions = {}): void {
    this.#up.options = up;
    this.#down.options = down;
  }

  getStats(): { readonly up: LinkStats; readonly down: LinkStats } {
    return { up: this.#up.stats, down: this.#down.stats };
  }

  close(): void {
    this.#up.close();
    this.#down.close();
    this.#peerSide.close();
    for (const socket of this.#serverSides.values()) socket.close();
  }

  #open(peerPort: number): Socket {
    const serverSide = newSocket();
    serverSide.on('message', (data) => this.#down.carry(data, () => this.#peerSide.send(data, peerPort, '127.0.0.1')));
    this.#serverSides.set(peerPort, serverSide);
    return serverSide;
  }
}

class Direction {
  options: LinkOptions;
  readonly stats = { forwarded: 0, dropped: 0 };
  #timers = new Set<NodeJS.Timeout>();
  /** performance.now() at which the bottleneck has sent everything accepted so far. */
  #freeAtMs = 0;
  #closed = false;

  constructor(options: LinkOptions) {
    this.options = options;
  }

  carry(data: Buffer, send: () => void): void {
    const { lossPercent = 0, delayMs = 0, bitrateBps, queueMs = 200 } = this.options;
    const media = ((data[0] ?? 0) & 0xc0) === 0x80;
    if (media && Math.random() * 100 < lossPercent) {
      this.stats.dropped += 1;
      return;
    }
    const now = performance.now();
    let waitMs = delayMs;
    if (bitrateBps !== undefined) {
      const startMs = Math.max(now, this.#freeAtMs);
      if (startMs - now > queueMs) {
        this.stats.dropped += 1;
        return;
      }
      this.#freeAtMs = startMs + ((data.length + 28) * 8000) / bitrateBps;
      waitMs += this.#freeAtMs - now;
    }
    this.stats.forwarded += 1;
    if (waitMs < 0.5) {
      send();
      return;
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#closed) send();
    }, waitMs);
    this.#timers.add(timer);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
