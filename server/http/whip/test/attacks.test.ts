import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError, type ErrorCode } from '../../../errors.ts';
import { FRAGMENT, OFFER, RESTART, SDP, startWhip, trickled } from './material.ts';

/** What a client that is after another's session, or after the server's time, sends to WHIP and WHEP. */
let whip: Awaited<ReturnType<typeof startWhip>>;
const start = async (settings: Parameters<typeof startWhip>[0] = {}) => {
  await whip.close();
  whip = await startWhip(settings);
};
beforeEach(async () => {
  whip = await startWhip({ limits: { maxWhipRequestsPerSecond: 1000 } });
});
afterEach(() => whip.close());

async function opened(front = 'whip', headers: Record<string, string> = {}) {
  const response = await whip.post(`/${front}/stage`, headers);
  expect(response.statusCode).toBe(201);
  return { url: String(response.headers.location), etag: String(response.headers.etag) };
}

describe("another's session", () => {
  it('is not found by addresses that resemble its own: all are the same 404', async () => {
    const { url } = await opened();
    const id = url.split('/').at(-1) ?? '';
    const guesses = [`${id}x`, id.slice(1), id.toUpperCase(), 'a'.repeat(24), '%00', '__proto__', 'constructor'];
    for (const guess of guesses) {
      for (const method of ['GET', 'PATCH', 'DELETE'] as const) {
        const fragment = { payload: RESTART, headers: { 'content-type': FRAGMENT, 'if-match': '*' } };
        const { statusCode } = await whip.ask({
          method,
          url: `/whip/_session/${guess}`,
          ...(method === 'PATCH' ? fragment : {}),
        });
        expect([guess, method, statusCode]).toEqual([guess, method, 404]);
      }
    }
    expect([whip.table.size, whip.sessions.left]).toEqual([1, []]);
  });

  it('accepts no wrong token in any form, not even from its own address', async () => {
    const { url, etag } = await opened('whip', { authorization: 'Bearer right-token' });
    const forms: readonly (readonly [string | undefined, number])[] = [
      [undefined, 401],
      ['Bearer right-toke', 403],
      ['Bearer right-token1', 403],
      ['Bearer RIGHT-TOKEN', 403],
      ['Bearer right-token,right-token', 400],
      ['Bearer', 400],
      ['Bearer  ', 400],
      ['Token right-token', 400],
      ['right-token', 400],
    ];
    for (const [authorization, status] of forms) {
      const headers = authorization === undefined ? {} : { authorization };
      const asked = [
        await whip.ask({ method: 'DELETE', url, headers }),
        await whip.ask({ method: 'GET', url, headers }),
        await whip.patch(url, RESTART, { 'if-match': '*', ...headers }),
        await whip.patch(url, trickled('candidate:1'), { 'if-match': etag, ...headers }),
      ];
      expect(
        asked.map(({ statusCode }) => statusCode),
        authorization,
      ).toEqual([status, status, status, status]);
      expect(asked[0]?.body).not.toContain('right-token');
    }
    expect([whip.table.size, whip.sessions.candidates]).toEqual([1, []]);
  });

  it('costs a guess of a token one request of the rate, so that an address has 20 a second', async () => {
    await start({ limits: { maxWhipRequestsPerSecond: 1 } });
    const { url } = await opened('whip', { authorization: 'Bearer right-token' });
    const answers: number[] = [];
    for (let guess = 0; guess < 30; guess += 1) {
      const authorization = `Bearer guess${guess}`;
      answers.push((await whip.ask({ method: 'DELETE', url, headers: { authorization } })).statusCode);
    }
    // 9 of the burst of 10 are left, and what a slow machine refills.
    expect(answers.filter((status) => status === 429).length).toBeGreaterThan(10);
    expect(answers.filter((status) => ![403, 429].includes(status))).toEqual([]);
  });
});

describe('entity tags', () => {
  it('If-Match: * with the credentials of the ICE session restarts nothing', async () => {
    const { url, etag } = await opened();
    for (const any of ['*', '"*"', ' * ']) {
      const response = await whip.patch(url, trickled('candidate:1'), { 'if-match': any });
      expect([response.statusCode, response.headers.etag]).toEqual([204, undefined]);
    }
    expect((await whip.patch(url, trickled('candidate:1'), { 'if-match': etag })).statusCode).toBe(204);
  });

  it('a restart makes the tag before worthless, and tags that only resemble it are refused', async () => {
    const { url, etag } = await opened();
    const restarted = await whip.patch(url, RESTART, { 'if-match': '*' });
    expect(restarted.statusCode).toBe(200);
    const now = String(restarted.headers.etag);
    expect(now).not.toBe(etag);
    for (const tag of [etag, `W/${now}`, now.replaceAll('"', ''), now.toUpperCase() + 'x', '""', ',', '*,*']) {
      expect([tag, (await whip.patch(url, RESTART, { 'if-match': tag })).statusCode]).toEqual([tag, 412]);
    }
    expect((await whip.patch(url, RESTART, { 'if-match': `${',"x"'.repeat(2000)}, ${now}` })).statusCode).toBe(204);
  });
});

describe('methods and types', () => {
  it.each(['TRACE', 'CONNECT', 'PROPFIND', 'SEARCH', 'PUT'])('%s is refused', async (method) => {
    const { url } = await opened();
    for (const path of ['/whip/stage', url]) {
      const response = await whip.ask({ method: method as 'PUT', url: path, headers: { 'x-secret': 'cookie' } });
      expect([404, 405]).toContain(response.statusCode);
      expect(response.body).not.toContain('cookie');
    }
    expect(whip.table.size).toBe(1);
  });

  it('a method in a header, a query or the body is not looked at', async () => {
    const { url } = await opened();
    const headers = { 'x-http-method-override': 'DELETE', 'x-method-override': 'DELETE' };
    expect((await whip.ask({ method: 'GET', url: `${url}?_method=DELETE`, headers })).statusCode).toBe(204);
    expect((await whip.post(url, headers, '_method=DELETE')).statusCode).toBe(405);
    expect(whip.table.size).toBe(1);
  });

  it.each([
    'application/sdp, text/plain',
    'application/sdpx',
    'text/plain; application/sdp',
    'multipart/form-data; boundary=application/sdp',
    ' ; application/sdp',
    'application/json;application/sdp',
  ])('the type %j is 415', async (type) => {
    expect((await whip.post('/whip/stage', { 'content-type': type })).statusCode).toBe(415);
    expect(whip.sessions.requests).toEqual([]);
  });

  it('a body in another encoding is read as the text that it is not', async () => {
    whip.sessions.beforeReply = async () => {
      if (whip.sessions.requests.at(-1)?.sdp !== OFFER) throw new AppError('sdp.invalid', 'not SDP');
    };
    const response = await whip.post('/whip/stage', { 'content-encoding': 'gzip' }, '\u001f\ufffd\b\u0000');
    expect(response.statusCode).toBe(400);
    expect(whip.table.size).toBe(0);
  });

  it('query parameters that repeat or pollute are refused by name or ignored', async () => {
    for (const query of ['track=source&track=result', 'track[]=source', 'wait=1&wait=0', 'wait[x]=1', 'track=SOURCE']) {
      const { statusCode } = await whip.post(`/whep/stage?${query}`);
      expect([query, [201, 400].includes(statusCode)]).toEqual([query, true]);
    }
    expect((await whip.post('/whep/stage?__proto__[waits]=1&constructor.prototype.waits=1')).statusCode).toBe(201);
    expect(whip.sessions.requests.at(-1)).toMatchObject({ waits: false, tracks: 'page' });
    expect(({} as { waits?: unknown }).waits).toBeUndefined();
  });
});

describe('the overflow server', () => {
  it('gets the path alone: a request in absolute form does not write its Location', async () => {
    await start({ http: { overflowUrl: 'https://other.example' } });
    whip.sessions.beforeReply = async () => {
      throw new AppError('server.full', 'full');
    };
    const response = await whip.post('http://evil.example/whip/stage?x=1');
    expect([response.statusCode, response.headers.location]).toEqual([307, 'https://other.example/whip/stage?x=1']);
  });
});

describe('pages of other sites', () => {
  it('get no answer to a preflight, and no header of the cross-origin rules', async () => {
    await start({ http: { host: '0.0.0.0', allowedOrigins: ['https://studio.example'] } });
    for (const origin of [
      'https://studio.example.evil',
      'http://studio.example',
      'https://studio.example:8443',
      'https://STUDIO.example',
      'null',
      'https://evil@studio.example',
    ]) {
      const headers = { origin, 'access-control-request-method': 'DELETE', 'access-control-request-headers': '*' };
      const response = await whip.ask({ method: 'OPTIONS', url: '/whip/stage', headers });
      expect([origin, response.statusCode, response.headers['access-control-allow-origin']]).toEqual([
        origin,
        403,
        undefined,
      ]);
      expect(response.headers['access-control-allow-methods']).toBeUndefined();
    }
  });

  it('are never allowed to send cookies', async () => {
    await start({ http: { host: '0.0.0.0', allowedOrigins: ['*'] } });
    const response = await whip.post('/whip/stage', { origin: 'https://any.example', cookie: 'a=b' });
    expect(response.headers['access-control-allow-credentials']).toBeUndefined();
  });
});

describe('what was refused is counted by endpoint and reason', () => {
  it.each<readonly [ErrorCode, string]>([
    ['server.full', 'limits'],
    ['engine.full', 'limits'],
    ['broadcast.nameTaken', 'name'],
    ['broadcast.notLive', 'name'],
    ['server.draining', 'draining'],
    ['request.tooMany', 'budget'],
    ['sdp.unsupported', 'protocol'],
  ])('%s as %s', async (code, why) => {
    whip.sessions.beforeReply = async () => {
      throw new AppError(code, 'refused');
    };
    await whip.post('/whip/stage');
    await whip.post('/whep/stage');
    expect(whip.refused).toEqual([`whip ${why}`, `whep ${why}`]);
  });

  it('a wrong token as access, a wrong type as protocol, a body that is too large as limits', async () => {
    const { url } = await opened('whep', { authorization: 'Bearer right' });
    await whip.ask({ method: 'DELETE', url, headers: { authorization: 'Bearer wrong' } });
    await whip.post('/whip/stage', { 'content-type': 'text/plain' });
    await whip.post('/whip/stage', { 'content-type': SDP }, 'v=0\r\n'.padEnd(65 * 1024, 'a'));
    expect(whip.refused).toEqual(['whep access', 'whip protocol', 'whip limits']);
  });
});
