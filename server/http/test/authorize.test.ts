import fastify from 'fastify';
import { afterEach, describe, expect, it } from 'vitest';
import { accessFor } from '../../../testing/access-for.ts';
import { configSchema, type Config } from '../../config/config.ts';
import { HttpAccess } from '../authorize.ts';
import { sendError, toAppError } from '../errors.ts';

const app = { close: async () => {} };
afterEach(() => app.close());

/** The status of an operator's request without a credential, as a program on this machine sends it. */
async function asked(http: Partial<Config['http']>, headers: object = {}): Promise<number> {
  const server = fastify();
  app.close = async () => server.close();
  server.setErrorHandler((thrown, _request, reply) => sendError(reply, toAppError(thrown)));
  const { trustProxy, localRights } = configSchema.parse({ http }).http;
  const access = accessFor({ mode: 'jwt', jwtSecret: 's'.repeat(32), failureDelayMs: 0 }, { onLoopback: true });
  const rights = new HttpAccess(access, { trustProxy, localRights });
  server.get('/operate', async (request) => rights.authorize(request, 'admin').then(() => 'yes'));
  const sent = { host: 'localhost:8080', ...headers };
  return (await server.inject({ method: 'GET', url: '/operate', headers: sent })).statusCode;
}

describe('rights of programs on the own machine', () => {
  it.each<[string, Partial<Config['http']>, object, number]>([
    ['are there by default', {}, {}, 200],
    ['are not for what a proxy has passed on', {}, { 'x-forwarded-for': '203.0.113.9' }, 401],
    ['are gone by http.localRights false: a proxy that adds no header', { localRights: false }, {}, 401],
    ['are gone behind a proxy that http.trustProxy counts', { trustProxy: 1 }, {}, 401],
    ['are gone behind a proxy that http.trustProxy names', { trustProxy: ['127.0.0.1'] }, {}, 401],
    ['are there behind a proxy by http.localRights true', { trustProxy: 1, localRights: true }, {}, 200],
    ['and are not for what it has passed on', { localRights: true }, { 'x-forwarded-for': '203.0.113.9' }, 401],
  ])('%s', async (_what, http, headers, status) => {
    expect(await asked(http, headers)).toBe(status);
  });
});
