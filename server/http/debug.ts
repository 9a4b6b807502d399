import type { FastifyInstance } from 'fastify';
import { isLocalRequest } from '../access/local-peer.ts';
import { AppError } from '../errors.ts';

/**
 * GET /debug/state: every object's own `toJSON()`, as it is at this moment. For programs on this machine alone, and not
 * through a proxy: names, sizes and timing of every session are in it (tokens and clients' addresses are not).
 */
export function registerDebug(app: FastifyInstance, state: () => object): void {
  app.get('/debug/state', (request, reply) => {
    if (!isLocalRequest(request.raw)) {
      throw new AppError('request.forbidden', '/debug/state is open to programs on the server itself only.', {
        remedy: 'Run `curl http://localhost:PORT/debug/state` there.',
      });
    }
    const text = `${JSON.stringify(state(), undefined, 2)}\n`;
    return reply
      .header('Cache-Control', 'no-store')
      .header('Content-Type', 'application/json; charset=utf-8')
      .send(text);
  });
}
