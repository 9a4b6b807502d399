import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { selfSignedCertificate } from '../../../../testing/certificate.ts';
import { fetchWithProxy, proxyFor } from '../proxy.ts';

describe('proxyFor', () => {
  const environment = {
    HTTPS_PROXY: 'http://proxy:3128',
    http_proxy: 'plain:8080',
    NO_PROXY: 'localhost, .example.org,10.0.0.1:8443',
  };
  it.each([
    ['https://hub.test/a', 'http://proxy:3128/'],
    ['http://hub.test/a', 'http://plain:8080/'],
    ['https://localhost/a', undefined],
    ['https://mirror.example.org/a', undefined],
    ['https://example.org/a', undefined],
    ['https://notexample.org/a', 'http://proxy:3128/'],
    ['https://10.0.0.1:8443/a', undefined],
    ['https://10.0.0.1/a', 'http://proxy:3128/'],
  ])('%s goes through %s', (url, proxy) => {
    expect(proxyFor(url, environment)?.href).toBe(proxy);
  });
  it('is nothing without settings, and everything is direct with *', () => {
    expect(proxyFor('https://hub.test/', {})).toBeUndefined();
    expect(proxyFor('https://hub.test/', { ALL_PROXY: 'http://p', NO_PROXY: '*' })).toBeUndefined();
    expect(proxyFor('https://hub.test/', { ALL_PROXY: 'http://p' })?.href).toBe('http://p/');
  });
});

describe('fetchWithProxy', () => {
  const certificate = selfSignedCertificate();
  const seen: string[] = [];
  const sockets = new Set<Socket>();
  let servers: Server[];
  let [plain, secure, proxy] = ['', '', ''];
  let refuse = false;

  const listen = async (server: Server): Promise<number> => {
    servers.push(server);
    server.on('connection', (socket) => sockets.add(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  };
  const authorized = ({ headers }: IncomingMessage): string => headers['proxy-authorization'] ?? 'nobody';

  beforeEach(async () => {
    servers = [];
    seen.length = 0;
    refuse = false;
    const answer = (text: string) =>
      ((request, response) => {
        response.setHeader('x-host', request.headers.host ?? '');
        if (request.url === '/moved') response.writeHead(302, { location: '/elsewhere' });
        response.end(`${text} ${request.method} ${request.url} ${request.headers.range ?? ''}`);
      }) satisfies Parameters<typeof createServer>[1];
    plain = `http://localhost:${await listen(createServer(answer('plain')))}`;
    secure = `https://localhost:${await listen(createSecureServer(certificate, answer('secure')))}`;
    const relay = createServer((request, response) => {
      seen.push(`${request.method} ${request.url} by ${authorized(request)}`);
      void fetch(request.url ?? '').then(async (inner) => response.end(await inner.text()));
    });
    relay.on('connect', (request, socket, head) => {
      seen.push(`${request.method} ${request.url} by ${authorized(request)}`);
      if (refuse) return socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      const [host = '', port] = (request.url ?? '').split(':');
      const upstream = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        upstream.write(head);
        upstream.pipe(socket).pipe(upstream);
      });
      upstream.on('error', () => socket.destroy());
      socket.on('error', () => upstream.destroy());
      return undefined;
    });
    proxy = `http://me:p%40ss@127.0.0.1:${await listen(relay)}`;
  });
  afterEach(async () => {
    // A tunnel's sockets are no HTTP connections any more.
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    for (const server of servers) {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  const get = (url: string, headers = {}, method: 'GET' | 'HEAD' = 'GET') =>
    fetchWithProxy(url, { method, headers, signal: AbortSignal.timeout(5000) }, { ALL_PROXY: proxy }, certificate.cert);
  const credentials = `Basic ${Buffer.from('me:p@ss').toString('base64')}`;

  it('asks the proxy for the full address of an http target', async () => {
    expect(await (await get(`${plain}/file`)).text()).toContain('plain GET /file');
    expect(seen).toEqual([`GET ${plain}/file by ${credentials}`]);
  });

  it('reaches an https target through a tunnel, with its own headers, status and no followed redirect', async () => {
    const response = await get(`${secure}/file?x=1`, { range: 'bytes=5-' });
    expect(await response.text()).toBe('secure GET /file?x=1 bytes=5-');
    expect(response.headers.get('x-host')).toBe(new URL(secure).host);
    expect(seen).toEqual([`CONNECT ${new URL(secure).host} by ${credentials}`]);
    const moved = await get(`${secure}/moved`);
    expect([moved.status, moved.headers.get('location')]).toEqual([302, '/elsewhere']);
    await moved.body?.cancel();
    expect((await get(`${secure}/file`, {}, 'HEAD')).body).toBeNull();
  });

  it('says what the proxy answered when it refuses, and that none answers when it is gone', async () => {
    refuse = true;
    await expect(get(`${secure}/file`)).rejects.toThrow(/the proxy 127\.0\.0\.1:\d+ answered 407/);
    proxy = 'http://127.0.0.1:1';
    await expect(get(`${secure}/file`)).rejects.toThrow(/ECONNREFUSED/);
  });
});
