import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../../errors.ts';
import { FRAGMENT, OFFER, RESTART, SDP, startWhip, trickled } from './material.ts';

/** RFC 9725, by section. */
let whip: Awaited<ReturnType<typeof startWhip>>;
const start = async (settings: Parameters<typeof startWhip>[0] = {}) => {
  await whip.close();
  whip = await startWhip(settings);
};
beforeEach(async () => {
  whip = await startWhip();
});
afterEach(() => whip.close());

async function session(headers: Record<string, string> = {}, name = 'stage') {
  const response = await whip.post(`/whip/${name}`, headers);
  expect(response.statusCode).toBe(201);
  return { url: String(response.headers.location), etag: String(response.headers.etag) };
}

describe('4.1 HTTP', () => {
  it('GET and HEAD of endpoint and session are 2xx without content', async () => {
    const { url } = await session();
    for (const path of ['/whip/stage', url]) {
      for (const method of ['GET', 'HEAD'] as const) {
        const response = await whip.ask({ method, url: path });
        expect([path, method, response.statusCode, response.body]).toEqual([path, method, 204, '']);
      }
    }
  });

  it('other methods are 405 with Allow', async () => {
    const { url } = await session();
    const put = await whip.ask({ method: 'PUT', url: '/whip/stage' });
    expect([put.statusCode, put.headers.allow]).toEqual([405, 'POST, OPTIONS, GET, HEAD']);
    const post = await whip.post(url);
    expect([post.statusCode, post.headers.allow]).toEqual([405, 'PATCH, DELETE, OPTIONS, GET, HEAD']);
    expect((await whip.ask({ method: 'DELETE', url: '/whip/stage' })).statusCode).toBe(405);
  });

  it('errors are problem+json with the fields of the catalogue (RFC 9457)', async () => {
    const response = await whip.post('/whip/stage', { 'content-type': 'text/plain' });
    expect(response.headers['content-type']).toBe('application/problem+json');
    expect(response.json()).toMatchObject({
      type: 'about:blank',
      title: 'Unsupported Media Type',
      status: 415,
      detail: 'The body must be application/sdp.',
      code: 'request.mediaType',
      retryable: false,
    });
    expect(response.headers['cache-control']).toBe('no-store');
  });
});

describe('4.2 session setup and end', () => {
  it('POST is 201 with the answer, Location and a strong entity tag', async () => {
    const response = await whip.post('/whip/stage');
    expect(response.statusCode).toBe(201);
    expect(response.headers['content-type']).toBe(SDP);
    expect(response.body).toMatch(/^v=0/);
    expect(response.headers.location).toMatch(/^\/whip\/_session\/[\w-]+$/);
    expect(response.headers.etag).toMatch(/^"[\w-]+"$/);
    expect(response.headers['accept-patch']).toBe(FRAGMENT);
    expect(whip.sessions.requests).toMatchObject([{ name: 'stage', sdp: OFFER, tokenKind: 'own' }]);
  });

  it('takes room/participant, and a type with parameters', async () => {
    const response = await whip.post('/whip/room/anna', { 'content-type': 'application/SDP; charset=utf-8' });
    expect(response.statusCode).toBe(201);
    expect(whip.sessions.requests[0]?.name).toBe('room/anna');
  });

  it('begins Location with http.publicUrl', async () => {
    await start({ http: { publicUrl: 'https://live.example.org/sr/' } });
    expect((await session()).url).toMatch(/^https:\/\/live\.example\.org\/sr\/whip\/_session\//);
  });

  it.each([
    ['no type', 415, { 'content-type': '' }, OFFER],
    ['JSON', 415, { 'content-type': 'application/json' }, '{}'],
    ['a fragment', 415, { 'content-type': FRAGMENT }, OFFER],
    ['an Accept without application/sdp', 406, { accept: 'text/html, application/json' }, OFFER],
    ['an Accept that refuses it', 406, { accept: 'application/sdp;q=0' }, OFFER],
    ['no body', 400, {}, ''],
    ['an empty body', 400, {}, ' \r\n'],
    ['a body beyond 64 KiB', 413, {}, 'v=0\r\n'.padEnd(65 * 1024, 'a')],
    ['Basic authorization', 400, { authorization: 'Basic dTpw' }, OFFER],
    ['two tokens', 400, { authorization: 'Bearer a b' }, OFFER],
    ['a token beyond 4096 characters', 400, { authorization: `Bearer ${'a'.repeat(4097)}` }, OFFER],
  ])('refuses %s with %d; nothing is asked of the domain', async (_what, status, headers, body) => {
    const response = await whip.post('/whip/stage', headers, body);
    expect(response.statusCode).toBe(status);
    expect(response.headers['content-type']).toBe('application/problem+json');
    expect(whip.sessions.requests).toEqual([]);
    expect(whip.table.size).toBe(0);
  });

  it.each(['application/*', '*/*', 'text/html, application/sdp;q=0.5'])('takes Accept: %s', async (accept) => {
    expect((await whip.post('/whip/stage', { accept })).statusCode).toBe(201);
  });

  it.each(['two%20words', 'a/b/c', '', '.hidden', '_session', 'a'.repeat(65)])('refuses the name %j', async (name) => {
    const response = await whip.post(`/whip/${name}`);
    expect([400, 404]).toContain(response.statusCode);
    expect(whip.sessions.requests).toEqual([]);
  });

  it('passes on what the domain says, and keeps nothing of a refused request', async () => {
    whip.sessions.beforeReply = async () => {
      throw new AppError('sdp.unsupported', 'The offer sends 2 video tracks; one of each kind is taken.');
    };
    const response = await whip.post('/whip/stage');
    expect(response.statusCode).toBe(422);
    expect(response.json()).toMatchObject({
      code: 'sdp.unsupported',
      detail: expect.stringContaining('2 video') as string,
    });
    expect(whip.table.size).toBe(0);
  });

  it('a defect is 500 without its text', async () => {
    const response = await whip.post('/whip/stage', {}, 'crash');
    expect(response.statusCode).toBe(500);
    expect(response.body).not.toContain('secret');
  });

  it('DELETE is 200, frees the session and ignores If-Match', async () => {
    const { url } = await session();
    const response = await whip.ask({ method: 'DELETE', url, headers: { 'if-match': '"old"' } });
    expect([response.statusCode, response.body]).toEqual([200, '']);
    expect(whip.sessions.left).toEqual([{ session: 'session-1', cause: 'request' }]);
    for (const method of ['DELETE', 'GET', 'PATCH'] as const) {
      expect((await whip.ask({ method, url })).statusCode).toBe(404);
    }
  });

  it('a session that the server ended is not known any more', async () => {
    const { url } = await session();
    whip.sessions.sinks.get('session-1')?.onState('ended', 'taken over', new AppError('broadcast.nameTaken', 'x'));
    expect(whip.table.size).toBe(0);
    expect((await whip.ask({ method: 'DELETE', url })).statusCode).toBe(404);
  });

  it('a session that ends before its answer is an error, and not kept', async () => {
    whip.sessions.beforeReply = async (sink) =>
      sink.onState('ended', 'evicted', new AppError('request.tooMany', 'This session gave way.'));
    expect((await whip.post('/whip/stage')).statusCode).toBe(429);
    expect(whip.table.size).toBe(0);
  });

  it('a session belongs to its own endpoint', async () => {
    const { url } = await session();
    expect((await whip.ask({ method: 'DELETE', url: url.replace('/whip/', '/whep/') })).statusCode).toBe(404);
  });
});

describe('4.3.1 PATCH', () => {
  it.each([
    ['another type', 415, { 'content-type': SDP }, RESTART],
    ['no type', 415, { 'content-type': '' }, RESTART],
    ['an empty body', 400, {}, ''],
    ['a line that is none', 400, {}, 'nonsense\r\n'],
    ['a user without a password', 400, {}, 'a=ice-ufrag:EsAw\r\n'],
    ['two users', 400, {}, `${RESTART}a=ice-ufrag:other\r\n`],
    ['too many candidates', 400, {}, trickled('candidate:x').padEnd(200).concat('a=candidate:x\r\n'.repeat(65))],
    ['too many lines', 400, {}, 'a=x\r\n'.repeat(257)],
    ['a body beyond 64 KiB', 413, {}, 'a=x\r\n'.repeat(14_000)],
  ])('refuses %s with %d, and the session stays', async (_what, status, headers, body) => {
    const { url, etag } = await session();
    expect((await whip.patch(url, body, { 'if-match': etag, ...headers })).statusCode).toBe(status);
    expect(whip.table.size).toBe(1);
    expect(whip.sessions.candidates).toEqual([]);
  });

  it('without If-Match is 428, with another tag 412', async () => {
    const { url, etag } = await session();
    expect((await whip.patch(url, trickled('candidate:1'))).statusCode).toBe(428);
    expect((await whip.patch(url, trickled('candidate:1'), { 'if-match': '"other"' })).statusCode).toBe(412);
    expect((await whip.patch(url, trickled('candidate:1'), { 'if-match': `W/${etag}` })).statusCode).toBe(412);
  });
});

describe('4.3.2 trickle ICE', () => {
  it('is 204 without body and entity tag; candidates reach the session', async () => {
    const { url, etag } = await session();
    const response = await whip.patch(url, trickled('candidate:1 1 udp 1 192.0.2.1 5 typ host'), { 'if-match': etag });
    expect([response.statusCode, response.body, response.headers.etag]).toEqual([204, '', undefined]);
    expect(whip.sessions.candidates).toEqual([
      { session: 'session-1', candidate: { candidate: 'candidate:1 1 udp 1 192.0.2.1 5 typ host' } },
    ]);
  });

  it('takes the prefix as MediaMTX writes it, a list of tags, and the end of candidates alone', async () => {
    const { url, etag } = await session();
    const body = trickled('candidate:candidate:2 1 udp 1 127.0.0.1 5 typ host ufrag EsAw');
    expect((await whip.patch(url, body, { 'if-match': `"x", ${etag}` })).statusCode).toBe(204);
    expect(whip.sessions.candidates[0]?.candidate.candidate).toMatch(/^candidate:2 1 udp/);
    expect((await whip.patch(url, trickled('end-of-candidates'), { 'if-match': etag })).statusCode).toBe(204);
    expect((await whip.patch(url, 'a=end-of-candidates', { 'if-match': etag })).statusCode).toBe(204);
  });

  it('with the credentials of another ICE session is 422', async () => {
    const { url, etag } = await session();
    expect((await whip.patch(url, RESTART, { 'if-match': etag })).statusCode).toBe(422);
  });
});

describe('4.3.3 ICE restart', () => {
  it.each(['*', '"*"'])('with If-Match %s is 200 with our side and a new entity tag', async (any) => {
    const { url, etag } = await session();
    const response = await whip.patch(url, RESTART, { 'if-match': any });
    expect(response.statusCode).toBe(200);
    expect(response.headers['content-type']).toBe(FRAGMENT);
    expect(response.headers.etag).toMatch(/^"[\w-]+"$/);
    expect(response.headers.etag).not.toBe(etag);
    expect(response.body.split('\r\n')).toEqual([
      'a=ice-options:trickle',
      'a=ice-ufrag:ours-ysXw',
      `a=ice-pwd:${'p'.repeat(32)}`,
      'm=audio 9 UDP/TLS/RTP/SAVPF 111',
      'a=mid:0',
      'a=candidate:1',
      'a=end-of-candidates',
      '',
    ]);
    // A late PATCH of the old ICE session; one of the new.
    expect((await whip.patch(url, trickled('candidate:1'), { 'if-match': etag })).statusCode).toBe(412);
    const next = { 'if-match': String(response.headers.etag) };
    expect((await whip.patch(url, `${RESTART}a=candidate:3\r\n`, next)).statusCode).toBe(204);
  });

  it('that fails leaves the session and its tag', async () => {
    const { url, etag } = await session();
    whip.sessions.restartIce = async () => {
      throw new AppError('request.tooMany', 'This session restarts ICE more than once a second.');
    };
    expect((await whip.patch(url, RESTART, { 'if-match': '*' })).statusCode).toBe(429);
    expect((await whip.patch(url, trickled('candidate:1'), { 'if-match': etag })).statusCode).toBe(204);
  });

  it('with the same credentials is no restart', async () => {
    const { url } = await session();
    expect((await whip.patch(url, trickled('candidate:1'), { 'if-match': '*' })).statusCode).toBe(204);
  });
});

describe('4.5 load balancing', () => {
  const full = async () => {
    throw new AppError('server.full', 'All 2 broadcasts are taken (limits.maxBroadcasts).');
  };

  it('a full server is 503 with Retry-After', async () => {
    whip.sessions.beforeReply = full;
    const response = await whip.post('/whip/stage');
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '5']);
  });

  it('or 307 to http.overflowUrl, path and query kept', async () => {
    await start({ http: { overflowUrl: 'https://pool.example.org' } });
    whip.sessions.beforeReply = full;
    const response = await whip.post('/whip/stage?key=1');
    expect([response.statusCode, response.headers.location]).toEqual([
      307,
      'https://pool.example.org/whip/stage?key=1',
    ]);
  });

  it('other errors are not redirected', async () => {
    await start({ http: { overflowUrl: 'https://pool.example.org' } });
    await session();
    expect((await whip.post('/whip/stage')).statusCode).toBe(409);
  });
});

describe('4.6 STUN and TURN servers', () => {
  const SERVERS = [
    { urls: 'stun:stun.example.org' },
    { urls: 'turn:turn.example.org?transport=udp', username: 'u', credential: 'c' },
    { urls: 'turn:turn.example.org', username: 'u', credential: 'with;semicolon' },
  ];
  const LINKS = [
    '<stun:stun.example.org>; rel="ice-server"',
    '<turn:turn.example.org?transport=udp>; rel="ice-server"; username="u"; credential="c"; credential-type="password"',
  ];

  it('are Link lines of the answer and of OPTIONS, one a server, not of a preflight', async () => {
    whip.sessions.iceServers = SERVERS;
    expect((await whip.post('/whip/stage')).headers.link).toEqual(LINKS);
    const options = await whip.ask({ method: 'OPTIONS', url: '/whip/stage', headers: { authorization: 'Bearer x' } });
    expect([options.statusCode, options.headers.link]).toEqual([204, LINKS]);
    const preflight = await whip.ask({
      method: 'OPTIONS',
      url: '/whip/stage',
      headers: { host: 'localhost', origin: 'http://localhost', 'access-control-request-method': 'POST' },
    });
    expect([preflight.statusCode, preflight.headers.link]).toEqual([204, undefined]);
  });
});

describe('4.7 bearer tokens', () => {
  it('the token is the right to the name, and to the session', async () => {
    const { url, etag } = await session({ authorization: 'Bearer secret-of-obs' });
    expect(whip.sessions.requests[0]).toMatchObject({ resumeToken: 'secret-of-obs' });
    const without = await whip.ask({ method: 'DELETE', url });
    expect([without.statusCode, without.headers['www-authenticate']]).toEqual([401, 'Bearer']);
    const wrong = { authorization: 'Bearer another' };
    expect((await whip.ask({ method: 'DELETE', url, headers: wrong })).statusCode).toBe(403);
    expect((await whip.patch(url, trickled('candidate:1'), { ...wrong, 'if-match': etag })).statusCode).toBe(403);
    expect((await whip.ask({ method: 'GET', url })).statusCode).toBe(401);
    expect(whip.table.size).toBe(1);
    const right = { authorization: 'bearer secret-of-obs' };
    expect((await whip.patch(url, trickled('candidate:1'), { ...right, 'if-match': etag })).statusCode).toBe(204);
    expect((await whip.ask({ method: 'DELETE', url, headers: right })).statusCode).toBe(200);
  });
});

describe('5 security', () => {
  it('requests of an address are bounded, and its refusals counted', async () => {
    await start({ limits: { maxWhipRequestsPerSecond: 1 } });
    for (let request = 0; request < 10; request += 1) await whip.ask({ method: 'GET', url: '/whip/stage' });
    const response = await whip.post('/whip/stage');
    expect([response.statusCode, response.headers['retry-after']]).toEqual([429, '2']);
    expect(whip.refused).toContain('whip budget');
    expect(whip.sessions.requests).toEqual([]);
  });
});

describe('cross-origin', () => {
  const preflight = (origin: string, url = '/whip/stage') =>
    whip.ask({ method: 'OPTIONS', url, headers: { origin, 'access-control-request-method': 'PATCH' } });

  it('a page of an allowed origin publishes and reads what it needs', async () => {
    await start({ http: { host: '0.0.0.0', allowedOrigins: ['https://studio.example'] } });
    const allowed = await preflight('https://studio.example');
    expect(allowed.statusCode).toBe(204);
    expect(allowed.headers['access-control-allow-origin']).toBe('https://studio.example');
    expect(allowed.headers['access-control-allow-methods']).toContain('PATCH');
    expect(allowed.headers['access-control-allow-headers']).toContain('If-Match');
    const response = await whip.post('/whip/stage', { origin: 'https://studio.example' });
    expect(response.headers['access-control-allow-origin']).toBe('https://studio.example');
    expect(response.headers['access-control-expose-headers']).toMatch(/Location, ETag, Link/);
    expect((await preflight('https://studio.example', String(response.headers.location))).statusCode).toBe(204);
  });

  it('an error is readable to it too', async () => {
    await start({ http: { host: '0.0.0.0', allowedOrigins: ['*'] } });
    const response = await whip.post('/whip/stage', { origin: 'https://any.example', 'content-type': 'text/plain' });
    expect([response.statusCode, response.headers['access-control-allow-origin']]).toEqual([415, '*']);
  });

  it('a page of another origin is refused before anything happens, DNS rebinding on loopback included', async () => {
    for (const [origin, host] of [
      ['https://evil.example', 'h'],
      ['http://evil.example', 'evil.example'],
    ] as const) {
      const response = await whip.post('/whip/stage', { origin, host });
      expect([response.statusCode, response.headers['access-control-allow-origin']]).toEqual([403, undefined]);
      expect((await preflight(origin)).statusCode).toBe(403);
    }
    expect(whip.sessions.requests).toEqual([]);
  });
});
