import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { isLoopbackHost } from '../access/address.ts';
import { kickedError, type Access } from '../access/access.ts';
import { checkOrigin } from '../access/origin.ts';
import { broadcastName } from '../broadcast/name.ts';
import type { SessionService } from '../broadcast/sessions.ts';
import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { HttpAccess } from './authorize.ts';

export interface AdminOptions {
  readonly access: Access;
  readonly sessions: SessionService;
  readonly http: Config['http'];
}

const kick = z.strictObject({
  name: broadcastName,
  /** How long the name, and the credential it was published with, are refused. */
  seconds: z.number().min(1).max(86_400).default(300),
});

/** What the operator changes while the server runs; every route asks for the admin right. */
export function registerAdmin(app: FastifyInstance, { access, sessions, http }: AdminOptions): void {
  const rights = new HttpAccess(access, http.trustProxy);
  app.register(async (scope) => {
    scope.addHook('onRequest', async (request) => {
      // Programs of this machine need no credential, and a page of another site can make its browser one of them.
      const { origin, host } = request.headers;
      const { allowedOrigins } = http;
      checkOrigin({ origin, host }, { allowedOrigins, loopbackOnly: isLoopbackHost(http.host) });
      await rights.authorize(request, 'admin');
    });
    scope.post('/api/admin/kick', async (request, reply) => {
      const { name, seconds } = bodyOf(kick, request.body);
      const refuse = (holder: string | undefined): void => access.kick(name, holder, seconds);
      if (!(await sessions.kick(name, kickedError(seconds * 1000), refuse))) {
        throw new AppError('broadcast.notLive', `Nobody publishes "${name}" here.`, {
          remedy: 'A pulled source is stopped by its entry in `sources`.',
        });
      }
      const until = new Date(Date.now() + seconds * 1000).toISOString();
      return reply.header('Cache-Control', 'no-store').send({ name, until });
    });
  });
}

/** @throws AppError request.malformed */
function bodyOf<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') ?? '';
  throw new AppError('request.malformed', `${where === '' ? 'The body' : where}: ${issue?.message ?? 'wrong'}.`, {
    remedy: 'Send the JSON that docs/access.md describes.',
  });
}
