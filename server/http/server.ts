import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { LogGate } from '../access/log-gate.ts';
import { refusalReason, type RefusalReason, type Refused } from '../metrics.ts';
import type { Access } from '../access/access.ts';
import { HttpAccess } from './authorize.ts';
import { Connections } from './connections.ts';
import { checkRequest, onClientError, sendError, toAppError } from './errors.ts';
import { registerDebug } from './debug.ts';
import { registerOperations, type Operations } from './operations.ts';
import { registerPage } from './page.ts';
import { RequestTimes } from './request-times.ts';
import { parseInSlices, RequestTurns } from './request-turns.ts';
import { readTlsFiles } from './tls.ts';

export interface HttpServerOptions extends Operations {
  readonly config: Pick<Config, 'http' | 'limits'>;
  readonly access: Access;
  readonly log: Pick<Log, 'info' | 'warn' | 'error'>;
  /** For /debug/state: objects whose toJSON() says what they are doing. */
  readonly state?: () => object;
  /** What was refused before a session existed, and why; for /metrics. */
  readonly onRefused?: (what: Refused, why: RefusalReason) => void;
}

export interface HttpServer {
  /** The Node server, for WebSocket upgrades. */
  readonly server: Server;
  /** For further routes (WHIP, WHEP, admin), to be added before listen(). */
  readonly app: FastifyInstance;
  /** @returns the address to open, for example http://localhost:8080. @throws AppError server.listen */
  listen(): Promise<string>;
  /** A request whose body, or whose answer, may take this long instead of half a minute; from now on, until its answer is out. */
  mayLast(request: IncomingMessage, ms: number): void;
  /** Ends listening and idle connections; whatever else is open is cut after `graceMs`. Idempotent. */
  close(graceMs?: number): Promise<void>;
}

/** A client has this long for a TLS handshake, for the header fields, for a whole request, and between two requests. */
const HANDSHAKE_MS = 10_000;
const HEADERS_MS = 10_000;
const REQUEST_MS = 30_000;
const KEEP_ALIVE_MS = 5_000;
/** No byte in either direction for this long ends the connection. */
const IDLE_MS = 30_000;
/** How often the times above are looked at. */
const CHECK_MS = 5_000;
/** Page, health and metrics over HTTP or, with certificate files, HTTPS. @throws AppError config.unreadable | config.invalid */
export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { config, log, readiness, metrics, onRefused = () => undefined } = options;
  const tls = readTlsFiles(config.http);
  const warnings = new LogGate();
  const timeouts: ServerOptions = {
    connectionsCheckingInterval: CHECK_MS,
    headersTimeout: HEADERS_MS,
    // RequestTimes has it, so that a file may take longer.
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // checkRequest answers in the catalogue's form.
    requireHostHeader: false,
  };
  const { limits, http } = config;
  const turns = new RequestTurns({
    limits,
    trustProxy: http.trustProxy,
    onRefused: () => onRefused('request', 'budget'),
  });
  let server: Server | undefined;
  const app = fastify({
    logger: false,
    bodyLimit: 128 * 1024,
    // The longest name of /watch/<room>/<participant> fits (broadcast/name.ts); what is longer gets 414.
    routerOptions: { maxParamLength: 160 },
    frameworkErrors: (thrown, _request, reply) => void sendError(reply, toAppError(thrown)),
    clientErrorHandler: (cause, socket) => {
      const error = onClientError(cause, socket);
      if (error !== undefined) onRefused('request', 'protocol');
    },
    serverFactory: (handler) => {
      const inTurn = (request: IncomingMessage, response: ServerResponse): void =>
        turns.take(request, response, () => handler(request, response));
      server =
        tls === undefined
          ? createServer(timeouts, inTurn)
          : createSecureServer({ ...timeouts, ...tls, handshakeTimeout: HANDSHAKE_MS }, inTurn);
      return server;
    },
  });
  if (server === undefined) throw new AppError('internal', 'fastify made no server');
  const nodeServer = server;
  nodeServer.timeout = IDLE_MS;
  // A handshake that fails or takes too long; Node leaves the socket to us.
  nodeServer.on('tlsClientError', (_error: Error, socket: { destroy(): void }) => socket.destroy());
  const times = new RequestTimes(nodeServer, REQUEST_MS);
  parseInSlices(nodeServer, tls === undefined ? 'connection' : 'secureConnection');
  const connections = new Connections(nodeServer, {
    limits,
    trustProxy: http.trustProxy,
    onRefused: (why) => {
      onRefused('connection', why);
      const setting = why === 'limits' ? 'limits.maxSockets' : 'limits.maxSocketsPerAddress';
      if (warnings.open(why, performance.now()))
        log.warn({ why, setting, open: connections.size }, 'http.connectionRefused');
    },
  });

  answerErrors(app, { log, onRefused });
  app.addHook('onRequest', async (request, reply) => {
    reply.header('X-Content-Type-Options', 'nosniff');
    checkRequest(request);
  });

  const access = new HttpAccess(options.access, http);
  registerOperations(app, { readiness, metrics, access, mayRead: http.metrics, trustProxy: http.trustProxy });
  registerDebug(app, access, () => ({ connections, requests: turns, ...options.state?.() }));
  registerPage(app, http);

  return {
    server: nodeServer,
    app,
    mayLast(request, ms) {
      times.mayLast(request, ms);
      connections.mayLast(request.socket, ms);
    },
    async listen() {
      const { host, port } = http;
      try {
        await app.listen({ host, port });
      } catch (cause) {
        throw listenError(cause as NodeJS.ErrnoException, host, port);
      }
      // accept(2) fails when descriptors run out: connections wait in the kernel's queue, those that exist go on.
      nodeServer.on('error', (error: NodeJS.ErrnoException) => {
        onRefused('connection', 'limits');
        if (warnings.open(error.code ?? '', performance.now()))
          log.error({ reason: error.message }, 'http.acceptFailed');
      });
      const address = nodeServer.address() as AddressInfo;
      return `${tls === undefined ? 'http' : 'https'}://${shownHost(host)}:${address.port}`;
    },
    async close(graceMs = 1000) {
      const cut = setTimeout(() => connections.destroyAll(), graceMs);
      await app.close();
      clearTimeout(cut);
      connections.destroyAll();
    },
  };
}

/** Every error leaves in the catalogue's form. */
function answerErrors(
  app: FastifyInstance,
  { log, onRefused }: Required<Pick<HttpServerOptions, 'log' | 'onRefused'>>,
): void {
  app.setErrorHandler((thrown, request, reply) => {
    const error = toAppError(thrown);
    if (error.status >= 500 && error.status !== 503)
      log.error({ code: error.code, url: pathOf(request.url), err: error }, 'http.error');
    const why = refusalReason(error.code);
    if (why !== undefined) onRefused('request', why);
    return sendError(reply, error);
  });
  app.setNotFoundHandler((request, reply) =>
    sendError(reply, new AppError('request.notFound', `There is no ${request.method} ${pathOf(request.url)} here.`)),
  );
}

/** Without the query, which may have a token (hls.ts). */
function pathOf(url: string): string {
  return (url.split('?')[0] ?? '').slice(0, 200);
}

/** What to type into a browser: camera access over plain HTTP needs `localhost`, and 0.0.0.0 is no address to open. */
function shownHost(host: string): string {
  if (['127.0.0.1', '::1', '0.0.0.0', '::', 'localhost'].includes(host)) return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

const LISTEN_REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EACCES: 'this user may not use that port',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'the host name is not known',
};

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): AppError {
  const reason = LISTEN_REASONS[cause.code ?? ''] ?? cause.message;
  return new AppError('server.listen', `Cannot listen on ${host}:${port}: ${reason}.`, {
    cause,
    context: { host, port, code: cause.code },
    ...(cause.code === 'EADDRINUSE' ? {} : { remedy: 'Choose another --host or --port.' }),
  });
}
