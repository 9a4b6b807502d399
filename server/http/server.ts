import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { wireError } from '../wire-error.ts';
import { registerPage } from './page.ts';
import { readTlsFiles } from './tls.ts';

export interface HttpServerOptions {
  readonly config: Pick<Config, 'http'>;
  readonly log: Pick<Log, 'info' | 'warn' | 'error'>;
  /** For /readyz; `reason` tells the operator what is missing (draining, loading the model, full). */
  readonly readiness: () => { readonly ready: boolean; readonly reason: string };
  /** For /metrics: the text exposition of prom-client's registry. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
}

export interface HttpServer {
  /** The Node server, for WebSocket upgrades. */
  readonly server: Server;
  /** For further routes (WHIP, WHEP, admin), to be added before listen(). */
  readonly app: FastifyInstance;
  /** @returns the address to open, for example http://localhost:8080. @throws AppError server.listen */
  listen(): Promise<string>;
  /** Ends listening and idle connections; answers under way may finish within `graceMs`. Idempotent. */
  close(graceMs?: number): Promise<void>;
}

/** Page, health and metrics over HTTP or, with certificate files, HTTPS. @throws AppError config.unreadable | config.invalid */
export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { config, log, readiness, metrics } = options;
  const tls = readTlsFiles(config.http);
  let server: Server | undefined;
  const app = fastify({
    logger: false,
    bodyLimit: 128 * 1024,
    // WHIP and WHEP session URLs and /watch/<name> fit easily.
    routerOptions: { maxParamLength: 128 },
    serverFactory: (handler) => {
      server = tls === undefined ? createServer(handler) : createSecureServer(tls, handler);
      server.headersTimeout = 10_000;
      server.requestTimeout = 30_000;
      server.keepAliveTimeout = 5_000;
      return server;
    },
  });
  if (server === undefined) throw new AppError('internal', 'fastify made no server');
  const nodeServer = server;

  app.setErrorHandler((thrown, request, reply) => {
    const error = toAppError(thrown);
    if (error.status >= 500) log.error({ code: error.code, url: request.url, err: error }, 'http.error');
    if (error.status === 503) void reply.header('Retry-After', '2');
    return reply.code(error.status).send(wireError(error));
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      code: 'request.malformed',
      message: `There is nothing at ${request.method} ${request.url.slice(0, 200)}.`,
      remedy: 'Open / for the page.',
      retryable: false,
    }),
  );

  app.get('/healthz', (_request, reply) => reply.header('Cache-Control', 'no-store').send({ status: 'ok' }));
  app.get('/readyz', (_request, reply) => {
    const { ready, reason } = readiness();
    return reply
      .code(ready ? 200 : 503)
      .header('Cache-Control', 'no-store')
      .send({ status: ready ? 'ready' : 'unavailable', reason });
  });
  app.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await metrics();
    return reply.header('Cache-Control', 'no-store').header('Content-Type', contentType).send(body);
  });
  await registerPage(app);

  return {
    server: nodeServer,
    app,
    async listen() {
      const { host, port } = config.http;
      try {
        await app.listen({ host, port });
      } catch (cause) {
        throw listenError(cause as NodeJS.ErrnoException, host, port);
      }
      const address = nodeServer.address() as AddressInfo;
      return `${tls === undefined ? 'http' : 'https'}://${shownHost(host)}:${address.port}`;
    },
    async close(graceMs = 1000) {
      const cut = setTimeout(() => nodeServer.closeAllConnections(), graceMs);
      await app.close();
      clearTimeout(cut);
    },
  };
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

/** fastify's own errors carry a status: too large, wrong content type, malformed JSON. */
function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const { statusCode, message } = thrown as { statusCode?: number; message?: string };
  if (statusCode === 413) return new AppError('request.tooLarge', message ?? 'Request too large.', { cause: thrown });
  if (statusCode !== undefined && statusCode < 500) {
    return new AppError('request.malformed', message ?? 'Malformed request.', { cause: thrown });
  }
  return AppError.from(thrown);
}
