import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestClient } from '../../testing/signaling/test-client.ts';
import { CREDENTIALS, MODES, NAME, RECORDING, startMode, type ModeServer } from './modes.ts';

/** Every action by every transport, with every kind of credential in every mode, through whole servers that others reach. */

/** Everything that a server has answered to this test, beside what it logged. */
let answered = '';

type Attempt = (server: ModeServer, credential: string | undefined) => Promise<number>;

function http(method: string, path: string, body?: object | string): Attempt {
  return async ({ url }, credential) => {
    const type = typeof body === 'string' ? 'application/sdp' : 'application/json';
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
        ...(body === undefined ? {} : { 'content-type': type }),
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    answered += `${await response.text()}\n`;
    if (response.status === 401) expect(response.headers.get('www-authenticate')).toBe('Bearer');
    return response.status;
  };
}

/** HLS players put the token into the address. */
const hlsByQuery: Attempt = ({ url }, credential) =>
  fetch(`${url}/hls/web/${NAME}/index.m3u8${credential === undefined ? '' : `?token=${credential}`}`).then(
    async (response) => {
      const text = await response.text();
      if (response.status === 200 && credential !== undefined)
        expect(text).toContain(`1764526000.ts?token=${credential}`);
      return response.status;
    },
  );

const STATUS: Readonly<Record<string, number>> = {
  'request.unauthorized': 401,
  'request.forbidden': 403,
  'sdp.invalid': 400,
  'request.state': 409,
};

/** A socket of its own: what comes of the greeting, or of the message behind it. */
function webSocket(message: object): Attempt {
  return async ({ url }, credential) => {
    const client = await TestClient.open(`${url.replace('http', 'ws')}/ws`);
    try {
      client.send({ type: 'hello', id: 1, version: 1, ...(credential === undefined ? {} : { token: credential }) });
      client.send({ ...message, id: 2 });
      const [first] = await Promise.race([
        Promise.all([client.get('error')]),
        Promise.all([client.get('shared')]),
        Promise.all([client.get('watching')]),
      ]);
      answered += first?.type === 'error' ? JSON.stringify(first) : '';
      return first?.type === 'error' ? (STATUS[first.code] ?? 0) : 200;
    } finally {
      client.socket.terminate();
    }
  };
}

/** What a transport answers to a credential with the right, when nothing is published and the offer is none. */
const ACTIONS: readonly [action: string, attempt: Attempt, right: number, open: number][] = [
  ['publish by WHIP', http('POST', `/whip/${NAME}`, 'no offer'), 400, 400],
  ['ICE servers of WHIP', http('OPTIONS', `/whip/${NAME}`), 204, 204],
  ['publish by WebSocket', webSocket({ type: 'publish', name: NAME, sdp: 'no offer' }), 400, 400],
  ['a link by WebSocket', webSocket({ type: 'share', name: NAME }), 200, 409],
  ['watch by WHEP', http('POST', `/whep/${NAME}`, 'no offer'), 409, 409],
  ['ICE servers of WHEP', http('OPTIONS', `/whep/${NAME}`), 204, 204],
  ['watch by WebSocket', webSocket({ type: 'watch', name: NAME, sdp: 'no offer' }), 400, 400],
  ['HLS', http('GET', `/hls/web/${NAME}/index.m3u8`), 200, 200],
  ['HLS by address', hlsByQuery, 200, 200],
  ['a recording', http('GET', `/recordings/${RECORDING}`), 200, 200],
  ['metrics', http('GET', '/metrics'), 200, 200],
  ['debug state', http('GET', '/debug/state'), 200, 200],
  ['kick', http('POST', '/api/admin/kick', { name: NAME }), 409, 409],
  ['server status', http('GET', '/api/admin/status'), 200, 200],
  ['broadcasts', http('GET', '/api/admin/broadcasts'), 200, 200],
  ['an output', http('POST', '/api/admin/outputs', { name: NAME }), 400, 400],
  ['tokens again', http('POST', '/api/admin/tokens/reload'), 409, 409],
];

describe.each(MODES)('access.mode %s', (mode) => {
  let server: ModeServer;
  beforeAll(async () => {
    server = await startMode(mode);
  });
  afterAll(() => server.close());

  it.each(ACTIONS)('%s', async (_action, attempt, right, open) => {
    for (const kind of CREDENTIALS) {
      const expected = mode === 'open' ? open : { none: 401, wrong: 401, expired: 401, foreign: 403, right }[kind];
      expect(await attempt(server, server.credentials[kind]), kind).toBe(expected);
    }
  });

  it('the list of recordings has those of the names that a credential is for', async () => {
    const seen: Record<string, unknown> = {};
    for (const kind of CREDENTIALS) {
      const credential = server.credentials[kind];
      const headers = credential === undefined ? {} : { authorization: `Bearer ${credential}` };
      const response = await fetch(`${server.url}/recordings`, { headers });
      const { recordings } = (await response.json()) as { recordings?: object[] };
      seen[kind] = recordings?.length ?? response.status;
    }
    const foreign = mode === 'webhook' ? 403 : 0;
    const refused = { none: 401, wrong: 401, expired: 401, foreign, right: 1 };
    expect(seen).toEqual(mode === 'open' ? { none: 1, wrong: 1, expired: 1, foreign: 1, right: 1 } : refused);
  });

  it('a link that a publisher asked for is the right to watch one name, and nothing else', async () => {
    if (mode === 'open') return;
    const client = await TestClient.open(`${server.url.replace('http', 'ws')}/ws`);
    client.send({ type: 'hello', id: 1, version: 1, token: server.credentials.right });
    client.send({ type: 'share', id: 2, name: NAME });
    const { token, expiresAt } = await client.get('shared');
    client.socket.terminate();
    expect(Date.parse(expiresAt)).toBeGreaterThan(Date.now());
    expect(await http('POST', `/whep/${NAME}`, 'no offer')(server, token)).toBe(409);
    expect(await hlsByQuery(server, token)).toBe(200);
    expect(await http('POST', '/whep/other', 'no offer')(server, token)).toBe(403);
    expect(await http('POST', `/whip/${NAME}`, 'no offer')(server, token)).toBe(403);
    expect(await http('GET', '/debug/state')(server, token)).toBe(403);
    expect(await http('POST', `/whep/${NAME}`, 'no offer')(server, `${token}x`)).toBe(401);
  });

  it('no secret is in logs, answers, metrics or the debug state', async () => {
    const headers = { authorization: `Bearer ${server.credentials.right ?? ''}` };
    const texts = {
      log: server.log(),
      answers: answered,
      metrics: await (await fetch(`${server.url}/metrics`, { headers })).text(),
      state: await (await fetch(`${server.url}/debug/state`, { headers })).text(),
    };
    expect(texts.state).toContain('"access"');
    if (mode !== 'open') expect(texts.log).toContain('access.refused');
    for (const [where, text] of Object.entries(texts)) {
      const found = server.secrets.filter((secret) => text.includes(secret));
      expect(found, where).toEqual([]);
    }
  });
});
