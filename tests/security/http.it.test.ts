import { get as httpGet } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StubbornSocket, upgradeRequest } from '../../testing/hostile/sockets.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';

/** Attacks on the HTTP side of the server, by hand-written bytes: a process that listens on every interface. */
let server: ServerProcess;
beforeAll(async () => {
  server = await ServerProcess.start({ args: ['--host', '0.0.0.0', '--access.mode', 'open'] });
});
afterAll(() => server.kill());

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

async function raw(request: string): Promise<Answer[]> {
  const client = await StubbornSocket.open(server.port, { send: request });
  const ended = new Promise((resolve) => client.socket.once('end', resolve).once('close', resolve));
  // Every request here ends its connection, by its own wish or by being refused.
  const late = await Promise.race([ended, sleep(20_000).then(() => 'late')]);
  client.socket.destroy();
  expect(late, 'the end of the connection').not.toBe('late');
  return client.text
    .split(/(?=HTTP\/1\.1 \d{3})/)
    .filter((part) => part.startsWith('HTTP/1.1'))
    .map((part) => {
      const [head = '', ...body] = part.split('\r\n\r\n');
      return { status: Number(head.slice(9, 12)), head, body: body.join('\r\n\r\n') };
    });
}

async function get(path: string, headers = '', method = 'GET'): Promise<Answer> {
  const [answer] = await raw(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}\r\n`);
  return answer ?? { status: 0, head: '', body: '' };
}

/** The catalogue's form, and nothing of the server's own files. */
function expectCatalogueForm({ body, head }: Answer): void {
  expect(JSON.parse(body)).toEqual({
    code: expect.stringMatching(/^(request|server)\./) as string,
    message: expect.any(String) as string,
    remedy: expect.any(String) as string,
    retryable: expect.any(Boolean) as boolean,
  });
  expect(head).toMatch(/content-type: application\/json/i);
  expect(head).toMatch(/x-content-type-options: nosniff/i);
  expect(body).not.toMatch(/\/tmp\/|\/work\/|node_modules|at .*\.ts|ENOENT|FST_ERR|root:x/);
}

describe('paths', () => {
  it.each([
    '/assets/../../package.json',
    '/assets/..%2f..%2fpackage.json',
    '/assets/%2e%2e/%2e%2e/package.json',
    '/assets/..%5c..%5cpackage.json',
    '/assets/%00',
    '/assets/%',
    '/assets/.gitignore',
    '/assets//etc/passwd',
    '//etc/passwd',
    '/.git/config',
    '/assets/',
    '/assets',
    '/index.html',
    '/sample.mp4/..',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/assets/index.html/../../../server/main.ts',
    '/watch/%FF',
    '/nothing',
  ])('%s is refused in the form of the catalogue', async (path) => {
    const answer = await get(path);
    expect([400, 404, 414]).toContain(answer.status);
    expectCatalogueForm(answer);
  });

  it.each([`/watch/${'a'.repeat(200)}`, '/watch/%F0%9F%98%80', '/watch/a%0d%0aX-Injected:1', '/watch/<script>'])(
    '%s shows the watch page without the name in it',
    async (path) => {
      const answer = await get(path);
      expect([400, 404, 414]).toContain(answer.status);
      expect(answer.head).not.toContain('X-Injected');
      expect(answer.body).not.toContain('<script>alert');
    },
  );
});

it('the longest name of a participant has its page', async () => {
  const answer = await get(`/watch/${'r'.repeat(64)}/${'p'.repeat(64)}`);
  expect(answer.status).toBe(200);
});

describe('requests against RFC 9112', () => {
  it.each([
    ['two Host fields', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
    ['no Host field', 'GET / HTTP/1.1\r\n\r\n'],
    [
      'Content-Length beside Transfer-Encoding',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n',
    ],
    ['two Content-Length fields', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde'],
    ['an unknown Transfer-Encoding', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['a folded field', 'GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n'],
    ['bare line feeds', 'GET / HTTP/1.1\nHost: a\n\n'],
    ['HTTP/0.9', 'GET /\r\n\r\n'],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])('%s: 400', async (_what, request) => {
    const [answer, ...more] = await raw(request);
    expect(answer?.status).toBe(400);
    expect(more).toEqual([]);
    if (answer !== undefined) expectCatalogueForm(answer);
  });

  it('header fields of 100 kB: 431', async () => {
    const answer = await get('/', `X: ${'a'.repeat(100_000)}\r\n`);
    expect(answer.status).toBe(431);
    expectCatalogueForm(answer);
  });
});

describe('answers', () => {
  it('JSON has nosniff, health too', async () => {
    expect((await get('/healthz')).head).toMatch(/x-content-type-options: nosniff/i);
    expect((await get('/assets/base.css')).head).toMatch(/x-content-type-options: nosniff/i);
  });

  it('a range outside the file: 416 that says how long it is; 1000 ranges cost no more than the file', async () => {
    const outside = await get('/sample.mp4', 'Range: bytes=99999999999-\r\n');
    expect(outside.status).toBe(416);
    expect(outside.head).toMatch(/content-range: bytes \*\/\d+/i);
    expectCatalogueForm(outside);
    expect((await get('/sample.mp4', 'Range: bytes=0-9\r\n')).status).toBe(206);
    const many = Array.from({ length: 1000 }, (_, index) => `${index}-`).join(',');
    expect((await get('/sample.mp4', `Range: bytes=${many}\r\n`)).status).toBe(200);
  });

  it('HEAD like GET without the body, other methods refused', async () => {
    const head = await get('/', '', 'HEAD');
    expect([head.status, head.body]).toEqual([200, '']);
    for (const method of ['OPTIONS', 'PUT', 'DELETE', 'PATCH', 'POST', 'PROPFIND', 'TRACE']) {
      const { status } = await get('/', '', method);
      expect([method, status >= 400 && status < 500]).toEqual([method, true]);
    }
  });

  it('a refused upgrade: the catalogue, too', async () => {
    for (const [path, status] of [
      ['/other', 404],
      ['/ws', 403],
    ] as const) {
      const [answer] = await raw(upgradeRequest(path, ['Origin: http://evil.example']));
      expect(answer?.status).toBe(status);
      if (answer !== undefined) expectCatalogueForm(answer);
    }
  });

  it('/metrics only to this machine: not through a proxy, not to a page by DNS rebinding', async () => {
    expect((await get('/metrics')).status).toBe(200);
    for (const headers of ['X-Forwarded-For: 192.0.2.1\r\n', 'Forwarded: for=192.0.2.1\r\n', 'Via: 1.1 proxy\r\n']) {
      const answer = await get('/metrics', headers);
      expect(answer.status).toBe(403);
      expectCatalogueForm(answer);
    }
    const [rebound] = await raw('GET /metrics HTTP/1.1\r\nHost: 127.evil.example\r\nConnection: close\r\n\r\n');
    expect(rebound?.status).toBe(403);
  });
});

/** GET from 127.0.0.2: another address, still this machine. */
function fromAnotherAddress(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { port: server.port, host: '127.0.0.1', localAddress: '127.0.0.2', path, agent: false };
    httpGet(options, (response) => {
      let body = '';
      response.on('data', (data: Buffer) => (body += data.toString())).on('end', () => resolve(body));
    }).on('error', reject);
  });
}

describe('/debug/state', () => {
  it('describes every object to a program on this machine, without tokens or addresses of clients', async () => {
    const answer = await get('/debug/state');
    expect(answer.status).toBe(200);
    const state = JSON.parse(answer.body) as Record<string, unknown>;
    expect(Object.keys(state)).toEqual(
      expect.arrayContaining(['connections', 'domain', 'rtc', 'signaling', 'version']),
    );
    expect(answer.body).not.toMatch(/127\.0\.0\.1|token/i);
  });

  it('is closed to proxied requests, to DNS rebinding and to other methods', async () => {
    expect((await get('/debug/state', 'X-Forwarded-For: 192.0.2.1\r\n')).status).toBe(403);
    const [rebound] = await raw('GET /debug/state HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n');
    expect(rebound?.status).toBe(403);
    expect((await get('/debug/state', '', 'POST')).status).toBe(404);
  });
});

describe('a client that sends requests without waiting for answers', () => {
  /** Writes as much as the server takes, on a new connection whenever one ends. */
  function flood(path: string, connections: number): { readonly ended: () => number; stop(): void } {
    const bytes = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`.repeat(500));
    const sockets = new Set<Socket>();
    let ended = 0;
    let running = true;
    const open = (): void => {
      const socket = connect({ port: server.port, host: '127.0.0.1' });
      sockets.add(socket);
      const write = (): void => {
        while (socket.writable && socket.write(bytes));
      };
      socket
        .on('connect', write)
        .on('drain', write)
        .on('error', () => undefined);
      socket.resume().on('close', () => {
        ended += 1;
        sockets.delete(socket);
        if (running) setTimeout(open, 10);
      });
    };
    for (let connection = 0; connection < connections; connection += 1) open();
    return {
      ended: () => ended,
      stop: () => {
        running = false;
        for (const socket of sockets) socket.destroy();
      },
    };
  }

  it.each(['/healthz', '/sample.mp4', '/metrics', '/debug/state'])(
    '%s: each connection is ended, others of its address are answered, memory stays flat',
    async (path) => {
      const attack = flood(path, 4);
      try {
        const end = performance.now() + 20_000;
        while (attack.ended() < 20 && performance.now() < end) await sleep(50);
        expect((await server.get('/healthz')).status).toBe(200);
        const before = server.residentMiB();
        while (attack.ended() < 120 && performance.now() < end) await sleep(50);
        expect(attack.ended()).toBeGreaterThanOrEqual(120);
        expect(server.residentMiB() - before).toBeLessThan(120);
        expect((await server.get('/healthz')).status).toBe(200);
      } finally {
        attack.stop();
      }
    },
    30_000,
  );

  it('what was refused is counted', async () => {
    const metrics = await (await server.get('/metrics')).text();
    expect(Number(/flashvsr_refused_total\{what="request",why="budget"\} (\d+)/.exec(metrics)?.[1])).toBeGreaterThan(
      400,
    );
  });
});

describe('descriptors', () => {
  const openFiles = (): number => server.descriptors().filter((target) => /astronaut|client-demo/.test(target)).length;
  const sockets = (): number => server.descriptors().filter((target) => target.startsWith('socket')).length;

  it.each([200, 16, 1])(
    '%i pipelined requests for a file, cut: no file and no socket stays open',
    async (pipelined) => {
      const before = sockets();
      for (let connection = 0; connection < 100; connection += 1) {
        const client = await StubbornSocket.open(server.port, {
          send: 'GET /sample.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(pipelined),
          reads: false,
        });
        await sleep(10);
        client.socket.destroy();
      }
      await expect.poll(openFiles, { timeout: 30_000 }).toBe(0);
      await expect.poll(() => sockets() - before, { timeout: 30_000 }).toBeLessThanOrEqual(2);
      expect((await server.get('/healthz')).status).toBe(200);
    },
  );

  it('connections of one address are bounded, those that stall end within a minute; the rest is served', async () => {
    const clients: StubbornSocket[] = [];
    const open = async (count: number, send: string, reads = true): Promise<void> => {
      for (let index = 0; index < count; index += 1)
        clients.push(await StubbornSocket.open(server.port, { send, reads }));
    };
    await open(60, '');
    await open(60, 'GET / HTTP/1.1\r\nHost: a\r\nX: ');
    await open(60, upgradeRequest('/other'));
    await open(60, 'GET /sample.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(16), false);
    await open(300, '');
    // The newest connections of the same address are served: idle ones made room for them.
    expect((await server.get('/healthz')).status).toBe(200);
    // One byte of a header now and then must not hold a connection either.
    const drip = setInterval(
      () => clients.slice(60, 120).forEach(({ socket }) => socket.destroyed || socket.write('a')),
      5000,
    );
    try {
      await expect.poll(sockets, { timeout: 20_000 }).toBeLessThanOrEqual(256 + 16);
      const metrics = await fromAnotherAddress('/metrics');
      expect(
        Number(/flashvsr_refused_total\{what="connection",why="address"\} (\d+)/.exec(metrics)?.[1]),
      ).toBeGreaterThan(50);
      // A minute, and room for a busy machine; before, nothing ended a client that stalls.
      await expect.poll(sockets, { timeout: 100_000, interval: 250 }).toBeLessThanOrEqual(20);
      expect((await server.get('/healthz')).status).toBe(200);
    } finally {
      clearInterval(drip);
      for (const { socket } of clients) socket.destroy();
    }
  }, 180_000);
});
