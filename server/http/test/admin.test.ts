import fastify from 'fastify';
import { afterEach, expect, it } from 'vitest';
import { accessFor } from '../../../testing/access-for.ts';
import { FakeSessions } from '../../../testing/signaling/fake-sessions.ts';
import { makeToken, tokenHash } from '../../access/static-tokens.ts';
import { configSchema } from '../../config/config.ts';
import { registerAdmin } from '../admin.ts';
import { sendError, toAppError } from '../errors.ts';

const app = { close: async () => {} };
afterEach(() => app.close());

it('a kick ends the publisher, and its name is refused for the time', async () => {
  const admin = makeToken();
  const publisher = makeToken();
  const tokens = [
    { name: 'admin', hash: tokenHash(admin), admin: true },
    { name: 'publisher', hash: tokenHash(publisher), publish: ['*'] },
  ];
  let nowMs = Date.now();
  const access = accessFor({ mode: 'tokens', tokens, failureDelayMs: 0 }, { onLoopback: false, now: () => nowMs });
  const sessions = new FakeSessions();
  const server = fastify();
  app.close = async () => server.close();
  server.setErrorHandler((thrown, _request, reply) => sendError(reply, toAppError(thrown)));
  const { http } = configSchema.parse({});
  registerAdmin(server, { access, sessions, http });
  const kick = async (token: string, body: object, headers: object = {}) => {
    const sent = { host: 'localhost', authorization: `Bearer ${token}`, ...headers };
    return (await server.inject({ method: 'POST', url: '/api/admin/kick', payload: body, headers: sent })).statusCode;
  };
  const request = { action: 'publish', name: 'stage', credential: publisher, address: '203.0.113.9' } as const;
  const sink = { onState: () => {}, onStats: () => {}, onCandidate: () => {} };
  const published = { sdp: 'offer', resumeToken: undefined, tokenKind: 'own', remoteAddress: '::1' } as const;

  expect(await kick(publisher, { name: 'stage' })).toBe(403);
  expect(await kick(admin, { name: 'stage' })).toBe(409);
  await expect(access.authorize(request)).resolves.toBeDefined();
  await sessions.publish({ ...published, name: 'stage' }, sink);
  expect(await kick(admin, { name: 'stage', seconds: 0 })).toBe(400);
  expect(await kick(admin, { name: 'stage' }, { origin: 'https://evil.example' })).toBe(403);
  expect(await kick(admin, { name: 'stage', seconds: 60 })).toBe(200);
  await expect(access.authorize(request)).rejects.toMatchObject({ code: 'access.kicked', status: 403 });
  nowMs += 60_000;
  await expect(access.authorize(request)).resolves.toBeDefined();
});
