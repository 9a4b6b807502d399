import type { FastifyInstance } from 'fastify';
import { configSchema } from '../server/config/config.ts';
import { createHttpServer } from '../server/http/server.ts';
import { registerWhip } from '../server/http/whip/endpoints.ts';
import type { SessionService } from '../server/broadcast/sessions.ts';
import { accessFor } from './access-for.ts';

export interface WhipEndpoints {
  /** Takes requests by inject(), without a socket. */
  readonly app: FastifyInstance;
  readonly table: ReturnType<typeof registerWhip>;
  /** What was refused and why, `offer rate`. */
  readonly refused: readonly string[];
}

/** The WHIP and WHEP endpoints over any domain. */
export async function whipEndpoints(
  sessions: SessionService,
  settings: { readonly http?: object; readonly limits?: object } = {},
): Promise<WhipEndpoints> {
  const config = configSchema.parse({ ...settings, access: { mode: 'open' } });
  const access = accessFor();
  const log = { info: () => {}, warn: () => {}, error: () => {} };
  const refused: string[] = [];
  const { app } = await createHttpServer({
    ...{ config, access, log },
    readiness: () => ({ ready: true, reason: '' }),
    metrics: async () => ({ contentType: '', body: '' }),
  });
  const onRefused = (what: string, why: string): void => void refused.push(`${what} ${why}`);
  return { app, table: registerWhip(app, { sessions, access, config, log, onRefused }), refused };
}
