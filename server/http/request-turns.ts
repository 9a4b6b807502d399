import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { TrustProxy } from '../access/client-address.ts';
import { RateLimit, addressKey } from '../access/limits.ts';
import { addressOf } from '../access/local-peer.ts';
import type { Config } from '../config/config.ts';

export interface RequestTurnsOptions {
  readonly limits: Pick<Config['limits'], 'maxRequestsPerSecond'>;
  readonly trustProxy: TrustProxy;
  /** A connection was ended because it sent too much without waiting for answers. */
  readonly onRefused: () => void;
  readonly nowMs?: () => number;
}

const BURST_SECONDS = 5;
/** Pages that describe the whole server take milliseconds; a small file takes some 60 us. */
const COSTS: ReadonlyMap<string, number> = new Map([
  ['/metrics', 20],
  ['/debug/state', 20],
]);
/** Requests that one connection has sent and got no answer to yet. Browsers send one, clients that pipeline a few. */
const MAX_UNANSWERED = 16;
const TURN_MS = 10;
const MAX_ADDRESSES = 10_000;

interface Waiting {
  readonly cost: number;
  readonly run: () => void;
}

/** One address: what it may still ask for at once, and what waits, by connection. */
interface AddressTurns {
  readonly rate: RateLimit;
  readonly waiting: Map<Socket, Waiting[]>;
}

/**
 * Requests wait for their turn. The thread that does RTP answers them, and HTTP/1.1 lets a client send thousands without waiting
 * for an answer: so each address has `limits.maxRequestsPerSecond`, and what comes beyond that waits. Connections of one address
 * take turns, so that a flood on one of them delays another by one round (an answer for each connection), not by the whole flood.
 *
 * Worst case: 16 requests wait for each connection; one that sends more unanswered ones is ended.
 */
export class RequestTurns {
  readonly #options: RequestTurnsOptions;
  readonly #nowMs: () => number;
  readonly #addresses = new Map<string, AddressTurns>();
  readonly #unanswered = new WeakMap<Socket, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RequestTurnsOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** @param run answers the request; called now or in its turn, unless the connection ends before */
  take(request: IncomingMessage, response: ServerResponse, run: () => void): void {
    const { socket } = request;
    const unanswered = (this.#unanswered.get(socket) ?? 0) + 1;
    if (unanswered > MAX_UNANSWERED) {
      if (socket.destroyed) return;
      socket.destroy();
      this.#options.onRefused();
      return;
    }
    this.#unanswered.set(socket, unanswered);
    response.once('close', () => this.#unanswered.set(socket, (this.#unanswered.get(socket) ?? 1) - 1));
    const turns = this.#turnsOf(addressKey(addressOf(request, this.#options.trustProxy)));
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const cost = COSTS.get(path) ?? 1;
    if (turns.waiting.size === 0 && turns.rate.take(this.#nowMs(), cost)) return run();
    const ofSocket = turns.waiting.get(socket);
    if (ofSocket !== undefined) ofSocket.push({ cost, run });
    else turns.waiting.set(socket, [{ cost, run }]);
    this.#timer ??= setInterval(() => this.poll(), TURN_MS).unref();
  }

  /** Runs whose turn it is. Called by a timer while requests wait. */
  poll(): void {
    let waiting = false;
    for (const turns of this.#addresses.values()) {
      this.#runTurns(turns);
      waiting ||= turns.waiting.size > 0;
    }
    if (waiting) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  toJSON(): object {
    let waiting = 0;
    for (const turns of this.#addresses.values())
      for (const ofSocket of turns.waiting.values()) waiting += ofSocket.length;
    return { addresses: this.#addresses.size, waiting };
  }

  #runTurns({ waiting, rate }: AddressTurns): void {
    // Each round begins with the connection that has waited longest: it goes to the end of the map's order with its turn.
    for (let next = waiting.entries().next(); !next.done; next = waiting.entries().next()) {
      const [socket, [first, ...rest]] = next.value;
      if (first === undefined || socket.destroyed) {
        waiting.delete(socket);
        continue;
      }
      if (!rate.take(this.#nowMs(), first.cost)) return;
      waiting.delete(socket);
      if (rest.length > 0) waiting.set(socket, rest);
      first.run();
    }
  }

  #turnsOf(key: string): AddressTurns {
    const { maxRequestsPerSecond } = this.#options.limits;
    const turns = this.#addresses.get(key) ?? {
      rate: new RateLimit(maxRequestsPerSecond, maxRequestsPerSecond * BURST_SECONDS, this.#nowMs()),
      waiting: new Map<Socket, Waiting[]>(),
    };
    // To the end of the map's order: the first one was not heard of for longest.
    this.#addresses.delete(key);
    this.#addresses.set(key, turns);
    if (this.#addresses.size > MAX_ADDRESSES) this.#forgetOne();
    return turns;
  }

  #forgetOne(): void {
    for (const [key, { waiting }] of this.#addresses) {
      if (waiting.size > 0) continue;
      this.#addresses.delete(key);
      return;
    }
  }
}

/** So much is parsed at once: some 60 of the shortest requests. */
const SLICE_BYTES = 1024;

/**
 * Hands the bytes of a connection to Node's parser in slices. Node reads up to 64 kB and parses all of it, 3500 requests at
 * most, even when the first one has ended the connection.
 *
 * @param event 'connection', or 'secureConnection' over TLS
 */
export function parseInSlices(server: Server, event: 'connection' | 'secureConnection'): void {
  const ends = new WeakMap<Socket, () => void>();
  server.on(event, (socket: Socket) => {
    const [parse] = socket.listeners('data') as ((data: Buffer) => void)[];
    if (parse === undefined) return;
    let upgraded = false;
    const onData = (data: Buffer): void => {
      for (let at = 0; at < data.length && !socket.destroyed; at += SLICE_BYTES) {
        // RFC 6455 section 4.1: a client sends nothing more until the upgrade has been answered.
        if (upgraded) return void socket.destroy();
        parse.call(socket, data.subarray(at, at + SLICE_BYTES));
      }
    };
    socket.off('data', parse);
    socket.on('data', onData);
    ends.set(socket, () => {
      upgraded = true;
      socket.off('data', onData);
    });
  });
  server.prependListener('upgrade', ({ socket }: IncomingMessage) => ends.get(socket)?.());
}
