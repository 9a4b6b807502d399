import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws';
import type { Config } from '../config/config.ts';
import { AppError, type ErrorCode } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Access } from '../access/access.ts';
import { LogGate } from '../access/log-gate.ts';
import { refusalReason, type RefusalReason, type Refused } from '../metrics.ts';
import { refuseSocket } from '../raw-response.ts';
import { ClientSocket } from './client-socket.ts';
import { AddressCount } from '../access/limits.ts';
import { isLoopbackHost } from '../access/address.ts';
import { addressOf } from '../access/local-peer.ts';
import { checkOrigin } from '../access/origin.ts';
import type { SessionService } from '../broadcast/sessions.ts';
import { CLOSE_CODES, type ServerMessage } from './protocol.ts';
import { wireError } from '../wire-error.ts';

const PATH = '/ws';
/** Beyond maxMessageBytes a message gets an error; beyond this many times that, ws closes (1009) without reading it. */
const HARD_LIMIT_FACTOR = 4;
/** A client that does not answer a close frame is cut after this long. */
const CLOSE_TIMEOUT_MS = 3000;

export interface SignalingOptions {
  /** The HTTP(S) server whose upgrades to /ws are taken; others get 404. */
  readonly server: Server;
  readonly sessions: SessionService;
  readonly access: Access;
  readonly config: Pick<Config, 'http' | 'limits'>;
  readonly log: Pick<Log, 'info' | 'warn'>;
  /** Sent in `welcome`, for example `FlashVSR Live 0.2.0`. */
  readonly serverName: string;
  /** Counters for /metrics. */
  readonly observer?: SignalingObserver;
  /** For tests; in use 15 s and 10 s. */
  readonly heartbeatMs?: number;
  readonly helloTimeoutMs?: number;
}

export interface SignalingObserver {
  /** Open sockets, on every change. */
  onConnections(open: number): void;
  /** A refused connection, a failed request or a broken frame. */
  onError(code: ErrorCode): void;
  /** What was refused before it became a session. */
  onRefused?(what: Refused, why: RefusalReason): void;
}

/** The WebSocket server of the page: one ClientSocket per socket, limits per address, heartbeat, list pushes. */
export class SignalingServer {
  readonly #options: SignalingOptions;
  readonly #webSockets: WebSocketServer;
  readonly #connections = new Set<ClientSocket>();
  /** Accepted only to be sent an error; ended by their close frame, the close timeout or close(). */
  readonly #refused = new Set<WebSocket>();
  readonly #addresses: AddressCount;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #unsubscribe: () => void;
  readonly #warnings = new LogGate();
  #state: 'open' | 'closing' = 'open';
  #drainUntilMs: number | undefined;
  #whenEmpty = (): void => {};

  constructor(options: SignalingOptions) {
    this.#options = options;
    const { limits } = options.config;
    this.#addresses = new AddressCount(limits.maxConnectionsPerAddress);
    // closeTimeout is newer than the types of ws.
    const webSocketOptions: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      maxPayload: limits.maxMessageBytes * HARD_LIMIT_FACTOR,
      perMessageDeflate: false,
      closeTimeout: CLOSE_TIMEOUT_MS,
    };
    this.#webSockets = new WebSocketServer(webSocketOptions);
    options.server.on('upgrade', this.#onUpgrade);
    this.#heartbeat = setInterval(() => {
      for (const connection of this.#connections) this.#guard(() => connection.heartbeat());
    }, options.heartbeatMs ?? 15_000);
    this.#unsubscribe = options.sessions.onListChanged(() => this.#guard(() => this.#pushList()));
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Sessions over all sockets, for tests and metrics. */
  get sessions(): number {
    return [...this.#connections].reduce((sum, connection) => sum + connection.sessions, 0);
  }

  /** The state of every socket, for people who debug; no addresses. */
  toJSON(): object {
    return { state: this.#state, addresses: this.#addresses.addresses, sockets: [...this.#connections] };
  }

  /** Informs every client, those of later connections included, that the server stops within this time. */
  drain(withinSeconds: number): void {
    this.#drainUntilMs = performance.now() + withinSeconds * 1000;
    for (const connection of this.#connections) connection.pushText(this.#drainNotice());
  }

  #drainNotice(): string {
    const leftMs = Math.max(0, (this.#drainUntilMs ?? 0) - performance.now());
    return JSON.stringify({ type: 'draining', withinSeconds: Math.ceil(leftMs / 1000) } satisfies ServerMessage);
  }

  /** Says goodbye (1001) to every client, waits for their answers at most `graceMs`, then cuts. Idempotent. */
  async close(graceMs = 1000): Promise<void> {
    if (this.#state === 'open') {
      this.#state = 'closing';
      clearInterval(this.#heartbeat);
      this.#unsubscribe();
      for (const connection of this.#connections)
        connection.close(CLOSE_CODES.goingAway.code, 'the server is stopping');
    }
    await this.#empty(graceMs);
    for (const connection of this.#connections) connection.terminate();
    for (const socket of this.#refused) socket.terminate();
    await this.#empty(1000);
    this.#options.server.off('upgrade', this.#onUpgrade);
    this.#webSockets.close();
  }

  /** Resolves when the last socket is gone, or after `mostMs`. */
  async #empty(mostMs: number): Promise<void> {
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, mostMs);
      this.#whenEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** An exception that left an event handler or timer would end the process: it is reported here instead. */
  #guard(handle: () => void, remoteAddress = ''): boolean {
    try {
      handle();
      return true;
    } catch (thrown) {
      this.#onError(AppError.from(thrown), remoteAddress);
      return false;
    }
  }

  readonly #onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy());
    const handled = this.#guard(() => this.#upgrade(request, socket, head), request.socket.remoteAddress);
    if (!handled) socket.destroy();
  };

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { config } = this.#options;
    try {
      if (pathOf(request) !== PATH)
        throw new AppError('request.notFound', `There is no WebSocket at this path; it is at ${PATH}.`);
      if (this.#state !== 'open') throw new AppError('server.draining', 'The server is stopping.');
      const { origin, host } = request.headers;
      const loopbackOnly = isLoopbackHost(config.http.host);
      checkOrigin({ origin, host }, { allowedOrigins: config.http.allowedOrigins, loopbackOnly });
    } catch (thrown) {
      const error = AppError.from(thrown);
      this.#onError(error, this.#addressOf(request));
      this.#refusal('upgrade', error);
      refuseSocket(socket, error);
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) =>
      this.#accept(webSocket, this.#addressOf(request)),
    );
  }

  #addressOf(request: IncomingMessage): string {
    return addressOf(request, this.#options.config.http.trustProxy);
  }

  #accept(socket: WebSocket, remoteAddress: string): void {
    const { limits } = this.#options.config;
    if (!this.#addresses.enter(remoteAddress)) {
      // After the handshake, because a browser's page cannot read the status of a refused one.
      const most = limits.maxConnectionsPerAddress;
      const error = new AppError('request.tooMany', `More than ${most} connections from one address.`);
      this.#onError(error, remoteAddress);
      this.#options.observer?.onRefused?.('websocket', 'address');
      this.#refused.add(socket);
      socket.on('error', () => socket.terminate());
      socket.once('close', () => this.#refused.delete(socket));
      socket.send(JSON.stringify({ type: 'error', ...wireError(error) } satisfies ServerMessage));
      socket.close(CLOSE_CODES.tryAgainLater.code, 'too many connections');
      return;
    }
    const connection = new ClientSocket({
      socket,
      remoteAddress,
      sessions: this.#options.sessions,
      access: this.#options.access,
      serverName: this.#options.serverName,
      maxMessageBytes: limits.maxMessageBytes,
      maxMessagesPerSecond: limits.maxMessagesPerSecond,
      helloTimeoutMs: this.#options.helloTimeoutMs ?? 10_000,
      onError: (error) => {
        this.#onError(error, remoteAddress);
        this.#refusal('message', error);
      },
    });
    this.#connections.add(connection);
    if (this.#drainUntilMs !== undefined) connection.pushText(this.#drainNotice());
    socket.on('close', () => {
      this.#addresses.exit(remoteAddress);
      this.#connections.delete(connection);
      this.#options.observer?.onConnections(this.#connections.size);
      if (this.#connections.size === 0) this.#whenEmpty();
    });
    this.#options.observer?.onConnections(this.#connections.size);
  }

  #refusal(what: Refused, { code }: AppError): void {
    const why = refusalReason(code);
    if (why !== undefined) this.#options.observer?.onRefused?.(what, why);
  }

  #pushList(): void {
    const subscribers = [...this.#connections].filter((connection) => connection.subscribed);
    if (subscribers.length === 0) return;
    const list = this.#options.sessions.list();
    if (this.#options.access.mode !== 'open') {
      for (const connection of subscribers) connection.pushList(list);
      return;
    }
    // The same for everybody: serialized once.
    const text = JSON.stringify({ type: 'broadcasts', ...list } satisfies ServerMessage);
    for (const connection of subscribers) connection.pushText(text);
  }

  /** Every error is counted; the log gets at most one line a second and code, since clients decide how many there are. */
  #onError(error: AppError, remoteAddress: string): void {
    this.#options.observer?.onError(error.code);
    if (!this.#warnings.open(error.code, performance.now())) return;
    const fields = { code: error.code, message: error.message, context: error.context, remoteAddress };
    this.#options.log.warn(error.code === 'internal' ? { ...fields, err: error } : fields, 'signaling.error');
  }
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?')[0] ?? '';
}
