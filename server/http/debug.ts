import type { FastifyInstance } from 'fastify';
import type { HttpAccess } from './authorize.ts';

/**
 * GET /debug/state: every object's own `toJSON()`, as it is at this moment. For the admin right, and for programs
 * on this machine where access/access.ts lets them, not through a proxy: names, sizes and timing of every session are in it (tokens and clients' addresses are not).
 */
export function registerDebug(app: FastifyInstance, access: HttpAccess, state: () => object): void {
  app.get('/debug/state', async (request, reply) => {
    await access.authorize(request, 'admin');
    const text = `${JSON.stringify(state(), undefined, 2)}\n`;
    return reply
      .header('Cache-Control', 'no-store')
      .header('Content-Type', 'application/json; charset=utf-8')
      .send(text);
  });
}
