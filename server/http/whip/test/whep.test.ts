import { afterEach, beforeEach, expect, it } from 'vitest';
import { AppError } from '../../../errors.ts';
import { RESTART, SDP, startWhip, trickled } from './material.ts';

/** draft-ietf-wish-whep (source of 2026-04-29) where it differs from WHIP; the rest is the same code. */
let whep: Awaited<ReturnType<typeof startWhip>>;
beforeEach(async () => {
  whep = await startWhip();
});
afterEach(() => whep.close());

it('HEAD of the endpoint is 200 with the type of the answer', async () => {
  const response = await whep.ask({ method: 'HEAD', url: '/whep/stage' });
  expect([response.statusCode, response.headers['content-type'], response.body]).toEqual([200, SDP, '']);
});

it('a player gets the result; its session takes PATCH and DELETE as a publisher’s does', async () => {
  const response = await whep.post('/whep/room/anna');
  expect(response.statusCode).toBe(201);
  expect(whep.sessions.requests).toMatchObject([{ name: 'room/anna', tracks: 'page', waits: false }]);
  const url = String(response.headers.location);
  const etag = String(response.headers.etag);
  expect(url).toMatch(/^\/whep\/_session\//);
  expect((await whep.patch(url, trickled('candidate:1'), { 'if-match': etag })).statusCode).toBe(204);
  expect((await whep.patch(url, RESTART, { 'if-match': '*' })).statusCode).toBe(200);
  expect((await whep.ask({ method: 'DELETE', url })).statusCode).toBe(200);
});

it('the query asks for the source, or to wait', async () => {
  await whep.post('/whep/stage?track=source');
  await whep.post('/whep/stage?track=result&wait=1');
  expect(whep.sessions.requests).toMatchObject([
    { tracks: 'source', waits: false },
    { tracks: 'page', waits: true },
  ]);
  for (const query of ['track=other', 'wait=yes', 'track=source&track=source']) {
    expect((await whep.post(`/whep/stage?${query}`)).statusCode).toBe(400);
  }
});

it('without a publisher it is 409 with Retry-After', async () => {
  whep.sessions.beforeReply = async () => {
    throw new AppError('broadcast.notLive', '"stage" is not live.');
  };
  const response = await whep.post('/whep/stage');
  expect([response.statusCode, response.headers['retry-after']]).toEqual([409, '2']);
  expect(response.json()).toMatchObject({ code: 'broadcast.notLive', retryable: true });
});
