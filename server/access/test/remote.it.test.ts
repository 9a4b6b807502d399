import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { JwtTokens } from '../jwt-tokens.ts';
import { TargetPolicy } from '../target-policy.ts';
import { WebHook } from '../web-hook.ts';

/** What decides elsewhere: the key set of an identity provider, the operator's hook. Both fail closed. */
let remote: Server;
let url: string;
let answer: (request: IncomingMessage, response: ServerResponse, body: string) => void;
let requests: string[];
const policy = new TargetPolicy({ allow: ['127.0.0.1'] });

beforeEach(async () => {
  requests = [];
  remote = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      requests.push(body);
      answer(request, response, body);
    });
  });
  await new Promise<void>((resolve) => remote.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(remote.address() as AddressInfo).port}/asked?key=1`;
});
afterEach(async () => {
  remote.closeAllConnections();
  await new Promise((resolve) => remote.close(resolve));
});

describe('the key set', () => {
  async function provider() {
    const keys: Record<string, Awaited<ReturnType<typeof generateKeyPair>>> = {};
    const rotate = async (kid: string) => (keys[kid] = await generateKeyPair('ES256', { extractable: true }));
    const served = async () =>
      JSON.stringify({
        keys: await Promise.all(
          Object.entries(keys).map(async ([kid, { publicKey }]) => ({ ...(await exportJWK(publicKey)), kid })),
        ),
      });
    const sign = (kid: string, key = keys[kid]?.privateKey) =>
      new SignJWT({ flashvsr: { admin: true } })
        .setProtectedHeader({ alg: 'ES256', kid })
        .setExpirationTime('1h')
        .sign(key ?? new Uint8Array(32));
    return { keys, rotate, served, sign };
  }

  it('is read again when it is rotated, and a key that is gone is no key', async () => {
    const { keys, rotate, served, sign } = await provider();
    answer = (_request, response) => void served().then((text) => response.end(text));
    const tokens = new JwtTokens({ jwksUrl: url }, policy, { cooldownMs: 0 });
    await rotate('first');
    const old = await sign('first');
    expect((await tokens.identify(old)).rights.admin).toBe(true);
    expect((await tokens.identify(old)).rights.admin).toBe(true);
    expect(requests).toHaveLength(1);

    delete keys['first'];
    await rotate('second');
    expect((await tokens.identify(await sign('second'))).rights.admin).toBe(true);
    expect(requests).toHaveLength(2);
    await expect(tokens.identify(old)).rejects.toMatchObject({ code: 'request.unauthorized' });
  });

  it('is not read again for every key that a stranger makes up', async () => {
    const { rotate, served, sign } = await provider();
    answer = (_request, response) => void served().then((text) => response.end(text));
    const tokens = new JwtTokens({ jwksUrl: url }, policy);
    await rotate('first');
    await tokens.identify(await sign('first'));
    const { privateKey } = await generateKeyPair('ES256');
    for (const kid of ['a', 'b', 'c']) {
      await expect(tokens.identify(await sign(kid, privateKey))).rejects.toMatchObject({ status: 401 });
    }
    expect(requests).toHaveLength(1);
  });

  it.each([
    ['an error', (response: ServerResponse) => void response.writeHead(500).end()],
    ['garbage', (response: ServerResponse) => void response.end('<html>')],
    ['a redirect', (response: ServerResponse) => void response.writeHead(302, { location: url }).end()],
    ['nothing', (response: ServerResponse) => void response.destroy()],
  ])('that is %s lets nobody in', async (_what, act) => {
    const { rotate, sign } = await provider();
    await rotate('first');
    answer = (_request, response) => act(response);
    const tokens = new JwtTokens({ jwksUrl: url }, policy, { cooldownMs: 0 });
    await expect(tokens.identify(await sign('first'))).rejects.toMatchObject({ code: 'access.unavailable' });
    expect(requests).toHaveLength(1);
  });

  it('of a private address is not asked for unless the policy permits it', async () => {
    const { rotate, sign } = await provider();
    await rotate('first');
    const tokens = new JwtTokens({ jwksUrl: url }, new TargetPolicy({ allow: [] }), { cooldownMs: 0 });
    await expect(tokens.identify(await sign('first'))).rejects.toMatchObject({ code: 'access.unavailable' });
    expect(requests).toEqual([]);
  });
});

describe('the hook', () => {
  const question = { action: 'publish', name: 'stage', credential: 'secret', address: '203.0.113.9' } as const;

  it('is asked in the format of MediaMTX', async () => {
    answer = (_request, response) => void response.end();
    await new WebHook(url, policy).ask({ ...question, userAgent: 'OBS' });
    expect(requests.map((body) => JSON.parse(body) as unknown)).toEqual([
      {
        ...{ ip: '203.0.113.9', user: '', password: '', token: 'secret', action: 'publish', path: 'stage' },
        ...{ protocol: 'webrtc', id: null, query: '', userAgent: 'OBS' },
      },
    ]);
  });

  it.each([
    ['401', (response: ServerResponse) => void response.writeHead(401).end(), 'request.unauthorized'],
    ['403', (response: ServerResponse) => void response.writeHead(403).end(), 'request.forbidden'],
    ['404', (response: ServerResponse) => void response.writeHead(404).end(), 'request.forbidden'],
    ['500', (response: ServerResponse) => void response.writeHead(500).end(), 'access.unavailable'],
    [
      'a redirect',
      (response: ServerResponse) => void response.writeHead(307, { location: '/' }).end(),
      'access.unavailable',
    ],
    ['no HTTP', (response: ServerResponse) => void response.socket?.end('garbage\r\n\r\n'), 'access.unavailable'],
    ['a cut', (response: ServerResponse) => void response.destroy(), 'access.unavailable'],
    [
      'a wrong lifetime',
      (response: ServerResponse) => void response.end('{"lifetimeSeconds":"1"}'),
      'access.unavailable',
    ],
    ['too much', (response: ServerResponse) => void response.end('x'.repeat(100_000)), 'access.unavailable'],
  ])('that answers %s admits nobody', async (_what, act, code) => {
    answer = (_request, response) => act(response);
    await expect(new WebHook(url, policy).ask(question)).rejects.toMatchObject({ code });
    expect(requests).toHaveLength(1);
  });

  it('that does not answer admits nobody', async () => {
    answer = () => {};
    await expect(new WebHook(url, policy, { withinMs: 50 }).ask(question)).rejects.toMatchObject({
      code: 'access.unavailable',
    });
  });

  it('has room for others while one address has many questions open', async () => {
    const held: ServerResponse[] = [];
    answer = (_request, response) => void held.push(response);
    const hook = new WebHook(url, policy, { withinMs: 60_000 });
    const flood = Array.from({ length: 32 }, (_, index) => hook.ask({ ...question, name: `stage${index}` }));
    await expect(hook.ask(question)).rejects.toMatchObject({ code: 'request.tooMany' });
    const other = hook.ask({ ...question, address: '198.51.100.1' });
    await expect.poll(() => held.length).toBe(33);
    for (const response of held) response.end();
    await Promise.all([...flood, other]);
    answer = (_request, response) => void response.end();
    await expect(hook.ask(question)).resolves.toBeDefined();
  });

  it('that does not run admits nobody', async () => {
    const hook = new WebHook('http://127.0.0.1:1/', policy);
    await expect(hook.ask(question)).rejects.toMatchObject({ code: 'access.unavailable' });
  });

  it('limits a session by lifetimeSeconds, and any other body means nothing', async () => {
    for (const [body, lifetimeSeconds] of [
      ['{"lifetimeSeconds":60}', 60],
      ['ok', undefined],
      ['', undefined],
      ['null', undefined],
    ] as const) {
      answer = (_request, response) => void response.end(body);
      expect(await new WebHook(url, policy).ask(question)).toEqual({ lifetimeSeconds });
    }
  });

  it('is asked about every publisher, and about a viewer at most once in ten seconds', async () => {
    let nowMs = 0;
    answer = (_request, response) => void response.end();
    const hook = new WebHook(url, policy, { now: () => nowMs });
    await hook.ask(question);
    await hook.ask(question);
    expect(requests).toHaveLength(2);
    const viewer = { ...question, action: 'watch' } as const;
    await hook.ask(viewer);
    await hook.ask(viewer);
    expect(requests).toHaveLength(3);
    await hook.ask({ ...viewer, credential: 'another' });
    await hook.ask({ ...viewer, address: '203.0.113.10' });
    expect(requests).toHaveLength(5);
    nowMs = 10_001;
    await hook.ask(viewer);
    expect(requests).toHaveLength(6);
  });
});
