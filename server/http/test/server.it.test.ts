import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get, type Server } from 'node:http';
import { request as secureRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { configSchema } from '../../config/config.ts';
import { SignalingServer } from '../../signaling/server.ts';
import { TestClient } from '../../../testing/signaling/test-client.ts';
import { FakeSessions } from '../../../testing/signaling/fake-sessions.ts';
import { createHttpServer, type HttpServer } from '../server.ts';
import { selfSignedCertificate } from '../../../testing/certificate.ts';
import { accessFor } from '../../../testing/access-for.ts';

let http: HttpServer;
let readiness = { ready: true, reason: '' };
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'flashvsr-http-'));
  for (const name of ['server', 'other']) {
    const { cert, key } = selfSignedCertificate();
    writeFileSync(join(folder, `${name}.crt`), cert);
    writeFileSync(join(folder, `${name}.key`), key);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(async () => http.close(0));

async function start(settings: Record<string, unknown> = {}): Promise<string> {
  readiness = { ready: true, reason: '' };
  http = await createHttpServer({
    config: configSchema.parse({ http: { port: 0, ...settings }, access: { mode: 'open' } }),
    access: accessFor(),
    log: { info: () => {}, warn: () => {}, error: () => {} },
    readiness: () => readiness,
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4', body: 'flashvsr_streams 0\n' }),
  });
  return http.listen();
}

/** As it stands: fetch() resolves dots in the path and asks past every cache. */
function statusOf(url: string, path: string, headers: Record<string, string> = {}): Promise<number | undefined> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    get({ hostname, port, path, headers }, (response) => resolve(response.resume().statusCode)).on('error', reject);
  });
}

describe('the page', () => {
  it('is served with a policy that lets in nothing from elsewhere, and revalidates', async () => {
    const url = await start();
    const response = await fetch(url);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/html');
    const policy = response.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
    expect(response.headers.get('cache-control')).toBe('no-cache');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    const etag = response.headers.get('etag') ?? '';
    expect(await statusOf(url, '/', { 'If-None-Match': etag })).toBe(304);
  });

  it('loads nothing by an address that is not its own, and every file it names is there', async () => {
    const url = await start();
    for (const path of ['/', '/watch/stage', '/watch/stage?embed=1']) {
      const html = await (await fetch(url + path)).text();
      const addresses = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? '');
      expect(addresses.length).toBeGreaterThan(2);
      for (const address of addresses.filter((each) => !each.startsWith('#'))) {
        expect(address).toMatch(/^\//);
        expect([address, (await fetch(url + address)).status]).toEqual([address, 200]);
      }
    }
  });

  it('serves the watch page by name, 404 for a name that cannot be', async () => {
    const url = await start();
    expect((await fetch(`${url}/watch/stage-1.a`)).status).toBe(200);
    expect((await fetch(`${url}/watch/room/anna`)).status).toBe(200);
    for (const name of ['two%20words', 'a/b/c', 'room/', 'room%2F..', '..%2fstage', '']) {
      expect([name, (await fetch(`${url}/watch/${name}`)).status]).toEqual([name, 404]);
    }
  });

  it('lets other sites frame the embedded player alone, and those sites only that the settings name', async () => {
    const site = 'https://site.example';
    const listed = {
      embedOrigins: [site],
      allowedOrigins: ['http://app.example:8000', "x; script-src 'unsafe-inline'"],
    };
    const ancestors = async (url: string, path: string): Promise<string | undefined> => {
      const policy = (await fetch(url + path)).headers.get('content-security-policy') ?? '';
      expect(policy).not.toContain('unsafe');
      return /frame-ancestors ([^;]+)/.exec(policy)?.[1];
    };
    const url = await start(listed);
    expect(await ancestors(url, '/watch/stage?embed=1')).toBe(`'self' http://app.example:8000 ${site}`);
    expect(await ancestors(url, '/watch/room/anna?embed=1&fit=pixel&sound=1')).toContain(site);
    for (const path of ['/', '/watch/stage', '/watch/stage?embed=0']) {
      expect([path, await ancestors(url, path)]).toEqual([path, "'self'"]);
    }
    await http.close(0);
    expect(await ancestors(await start({ embedOrigins: ['*'] }), '/watch/stage?embed=1')).toBe('*');
  });

  it.each(['embed=2', 'embed=1&embed=0', 'embed=1&fit=cover', 'embed=1&sound=loud'])(
    'refuses /watch/stage?%s with the values that there are',
    async (query) => {
      const response = await fetch(`${await start()}/watch/stage?${query}`);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({
        code: 'request.malformed',
        message: expect.stringMatching(/^(embed|fit|sound) is "/) as string,
      });
    },
  );

  it('serves the sample clip in ranges, as players ask for it', async () => {
    const url = await start();
    const response = await fetch(`${url}/sample.mp4`, { headers: { Range: 'bytes=4-7' } });
    expect(response.status).toBe(206);
    expect(response.headers.get('content-type')).toBe('video/mp4');
    expect(await response.text()).toBe('ftyp');
  });

  it.each(['/assets/../package.json', '/assets/%2e%2e/index.html', '/assets/..%2f..%2fpackage.json', '/package.json'])(
    'does not serve %s',
    async (path) => {
      const url = await start();
      const status = await statusOf(url, path);
      expect([400, 403, 404]).toContain(status);
    },
  );

  it('answers unknown paths with an error that says what to do', async () => {
    const url = await start();
    const response = await fetch(`${url}/nothing`);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ message: expect.stringContaining('/nothing') as string });
  });
});

describe('an address that leads nowhere', () => {
  const browser = { Accept: 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8' };

  /** As it stands: fetch() would mend a damaged escape. */
  function ask(url: string, path: string, headers: Record<string, string>): Promise<{ status: number; body: string }> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      get({ hostname, port, path, headers }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      }).on('error', reject);
    });
  }

  it.each([
    ['/nope', 404, 'This page does not exist'],
    ['/watch/two%20words', 404, 'This page does not exist'],
    ['/watch/%E0%A4%A', 400, 'This address is damaged'],
  ])('%s: a page with a way on for a browser, JSON for a program', async (path, status, title) => {
    const url = await start();
    const page = await ask(url, path, browser);
    expect(page.status).toBe(status);
    expect(page.body).toContain(`<h1>${title}</h1>`);
    expect(page.body).toContain('href="/"');
    const program = await ask(url, path, { Accept: '*/*' });
    expect(program.status).toBe(status);
    expect(JSON.parse(program.body)).toHaveProperty('remedy');
  });

  it('never writes a part of the request into the page as HTML, and keeps the policy of the other pages', async () => {
    const url = await start();
    const response = await fetch(`${url}/<script>alert(1)</script>`, { headers: browser });
    expect(await response.text()).not.toContain('alert(1)');
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(response.headers.get('vary')).toBe('Accept');
  });
});

describe('link previews', () => {
  const image = /property="og:image" content="([^"]*)"/;

  it('name the broadcast, with addresses that another host can load', async () => {
    const url = await start();
    const html = await (await fetch(`${url}/watch/room/anna`)).text();
    expect(html).toContain('property="og:title" content="Watch room/anna on FlashVSR Live"');
    expect(html).toContain(`property="og:url" content="${url.replace('127.0.0.1', 'localhost')}/watch/room/anna"`);
    const picture = await fetch(image.exec(html)?.[1] ?? '');
    expect([picture.status, picture.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
  });

  it('write no Host into the page that is not one', async () => {
    const url = await start();
    const { hostname, port } = new URL(url);
    const html = await new Promise<string>((resolve, reject) => {
      get({ hostname, port, path: '/', headers: { Host: 'a"><script>' } }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.on('end', () => resolve(body));
      }).on('error', reject);
    });
    expect(html).not.toContain('a"><script>');
    expect(html).not.toMatch(image);
    expect(html).toContain('og:title');
  });
});

describe('installing', () => {
  it('has a manifest whose icons are there', async () => {
    const url = await start();
    const html = await (await fetch(url)).text();
    const manifest = await fetch(url + (/rel="manifest" href="([^"]+)"/.exec(html)?.[1] ?? ''));
    expect(manifest.headers.get('content-type')).toBe('application/manifest+json');
    const { name, start_url, display, icons } = (await manifest.json()) as {
      name: string;
      start_url: string;
      display: string;
      icons: { src: string; purpose: string }[];
    };
    expect([name, start_url, display]).toEqual(['FlashVSR Live', '/', 'standalone']);
    expect(icons.map(({ purpose }) => purpose)).toEqual(['any', 'maskable']);
    for (const { src } of icons) expect((await fetch(url + src)).headers.get('content-type')).toBe('image/svg+xml');
  });
});

describe('health', () => {
  it('says alive always, ready only when it is, and why not', async () => {
    const url = await start();
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    readiness = { ready: false, reason: 'draining' };
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    const response = await fetch(`${url}/readyz`);
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: 'unavailable', reason: 'draining' });
  });

  it('serves metrics', async () => {
    const url = await start();
    const response = await fetch(`${url}/metrics`);
    expect(response.headers.get('content-type')).toContain('version=0.0.4');
    expect(await response.text()).toBe('flashvsr_streams 0\n');
  });
});

describe('listening', () => {
  it('names address and reason when the port is taken', async () => {
    const holder: Server = createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    const { port } = holder.address() as AddressInfo;
    await expect(start({ port })).rejects.toMatchObject({
      code: 'server.listen',
      message: `Cannot listen on 127.0.0.1:${port}: another program listens there.`,
    });
    holder.close();
  });

  it('names an address this machine does not have', async () => {
    await expect(start({ host: '192.0.2.1' })).rejects.toMatchObject({
      code: 'server.listen',
      message: expect.stringContaining('no such address') as string,
    });
  });

  it('closes with a connection still open', async () => {
    const url = await start();
    await (await fetch(`${url}/healthz`)).text();
    await http.close(0);
    await http.close(0);
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });
});

describe('HTTPS', () => {
  const files = (name: string, key = name) => ({
    tlsCertificateFile: join(folder, `${name}.crt`),
    tlsKeyFile: join(folder, `${key}.key`),
  });

  it('serves the page and the WebSocket with the given certificate', async () => {
    const url = await start(files('server'));
    expect(url).toMatch(/^https:\/\/localhost:/);
    const ca = readFileSync(join(folder, 'server.crt'));
    const status = await new Promise((resolve, reject) => {
      secureRequest(url, { ca, host: '127.0.0.1', servername: 'localhost' }, (response) => {
        resolve(response.resume().statusCode);
      })
        .on('error', reject)
        .end();
    });
    expect(status).toBe(200);
    const config = configSchema.parse({ http: files('server') });
    const log = { info: () => {}, warn: () => {} };
    const signaling = new SignalingServer({
      server: http.server,
      sessions: new FakeSessions(),
      access: accessFor(),
      config,
      log,
      serverName: 't',
    });
    const address = url.replace('https', 'wss').replace('localhost', '127.0.0.1');
    const client = await TestClient.greeted(`${address}/ws`, { ca, origin: address.replace('wss', 'https') });
    await client.stillUsable();
    await signaling.close(100);
  });

  it.each([
    ['a missing file', () => files('nowhere'), 'config.unreadable', 'http.tlsCertificateFile'],
    ['a key of another certificate', () => files('server', 'other'), 'config.invalid', 'http.tlsKeyFile'],
    [
      'a file that is no certificate',
      () => {
        writeFileSync(join(folder, 'text.crt'), 'hello');
        return files('text', 'server');
      },
      'config.invalid',
      'http.tlsCertificateFile',
    ],
  ])('names %s', async (_what, settings, code, key) => {
    await expect(start(settings())).rejects.toMatchObject({ code, message: expect.stringContaining(key) as string });
  });
});
