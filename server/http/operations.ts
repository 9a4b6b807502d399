import type { FastifyInstance } from 'fastify';
import { isNamed } from '../access/local-peer.ts';
import type { Config } from '../config/config.ts';
import type { HttpAccess } from './authorize.ts';
import type { Readiness } from './readiness.ts';

export interface Operations {
  readonly readiness: () => Readiness;
  /** For /metrics: the text exposition of prom-client's registry. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
}

export interface OperationsOptions extends Operations {
  readonly access: HttpAccess;
  /** Addresses that may read the metrics without a credential. */
  readonly mayRead: Config['http']['metrics'];
  readonly trustProxy: Config['http']['trustProxy'];
}

/** What a supervisor and a monitoring system ask: alive, ready, and the numbers. */
export function registerOperations(app: FastifyInstance, options: OperationsOptions): void {
  const { readiness, metrics, access, mayRead, trustProxy } = options;
  app.get('/healthz', (_request, reply) => reply.header('Cache-Control', 'no-store').send({ status: 'ok' }));
  app.get('/readyz', (_request, reply) => {
    const { ready, reason } = readiness();
    return reply
      .code(ready ? 200 : 503)
      .header('Cache-Control', 'no-store')
      .send({ status: ready ? 'ready' : 'unavailable', reason });
  });
  let scrape: ReturnType<typeof metrics> | undefined;
  app.get('/metrics', async (request, reply) => {
    if (!isNamed(request.raw, mayRead, trustProxy)) await access.authorize(request, 'metrics');
    // Requests that come while the text is made share it.
    scrape ??= metrics().finally(() => (scrape = undefined));
    const { contentType, body } = await scrape;
    return reply.header('Cache-Control', 'no-store').header('Content-Type', contentType).send(body);
  });
}
