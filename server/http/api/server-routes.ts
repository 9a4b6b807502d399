import { z } from 'zod';
import { kickedError } from '../../access/access.ts';
import { broadcastName } from '../../broadcast/name.ts';
import { AppError } from '../../errors.ts';
import * as answers from './answers.ts';
import { route, type ApiRoute } from './route.ts';
import type { ApiServices } from './services.ts';

const kick = z.strictObject({
  name: broadcastName,
  seconds: z
    .number()
    .min(1)
    .max(86_400)
    .default(300)
    .describe('how long the name, and the credential it was published with, are refused'),
});

const drain = z
  .strictObject({
    withinSeconds: z.number().min(0).max(86_400).default(60).describe('what clients are informed of'),
  })
  .prefault({});

/** The whole server. */
export function serverRoutes({
  server,
  sessions,
  access,
}: Pick<ApiServices, 'server' | 'sessions' | 'access'>): ApiRoute[] {
  return [
    route({
      id: 'getStatus',
      method: 'GET',
      url: '/api/admin/status',
      summary: 'The server: version, load, engines, limits, and the errors it has met',
      answer: answers.status,
      errors: [],
      handle: async () => server.status(),
    }),
    route({
      id: 'kick',
      method: 'POST',
      url: '/api/admin/kick',
      summary: 'End a publisher, and refuse its name and credential for a time',
      body: kick,
      answer: answers.kicked,
      errors: ['broadcast.notLive'],
      handle: async ({ body: { name, seconds } }) => {
        const refuse = (holder: string | undefined): void => access.kick(name, holder, seconds);
        if (!(await sessions.kick(name, kickedError(seconds * 1000), refuse))) {
          throw new AppError('broadcast.notLive', `Nobody publishes "${name}" here.`, {
            remedy: 'A pulled source is stopped by DELETE /api/admin/sources/NAME.',
          });
        }
        return { name, until: new Date(Date.now() + seconds * 1000).toISOString() };
      },
    }),
    route({
      id: 'drain',
      method: 'POST',
      url: '/api/admin/drain',
      summary: 'Take no new sessions; those that run go on',
      description:
        'As after SIGTERM, but the process goes on until it is stopped: /readyz answers 503, clients are informed. It lasts until the process ends.',
      body: drain,
      answer: answers.draining,
      errors: [],
      handle: async ({ body }) => ({ draining: true as const, sessions: server.drain(body.withinSeconds) }),
    }),
    route({
      id: 'reloadTokens',
      method: 'POST',
      url: '/api/admin/tokens/reload',
      summary: "Read the configuration's tokens again",
      description:
        'As SIGHUP does. Sessions of tokens that were removed, or that lost their right, end. A wrong configuration changes nothing.',
      answer: answers.reloaded,
      errors: ['access.reload'],
      handle: async () => server.reloadTokens(),
    }),
  ];
}
