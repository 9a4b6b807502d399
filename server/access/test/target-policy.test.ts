import { afterEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '../../errors.ts';
import { TargetPolicy, isRedirect, type Resolver } from '../target-policy.ts';

const WEB = ['https:', 'http:'];
const names =
  (table: Readonly<Record<string, readonly string[]>>): Resolver =>
  (host) =>
    Promise.resolve((table[host] ?? []).map((address) => ({ address })));
const closed = new TargetPolicy({ allow: [] });

afterEach(() => {
  vi.useRealTimers();
});

async function failure(work: Promise<unknown>): Promise<AppError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof AppError)) throw new Error('No AppError was thrown.');
  return error;
}

describe('addresses', () => {
  it.each([
    ...['0.0.0.0', '0.1.2.3', '10.0.0.1', '100.64.0.1', '127.0.0.1', '127.255.0.9', '169.254.169.254', '172.16.0.1'],
    ...['172.31.255.255', '192.0.0.8', '192.0.2.1', '192.88.99.1', '192.168.1.1', '198.18.0.1', '198.51.100.7'],
    ...['203.0.113.9', '224.0.0.1', '239.1.2.3', '240.0.0.1', '255.255.255.255'],
    ...['::', '::1', '::127.0.0.1', '::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:0:127.0.0.1', '64:ff9b::7f00:1'],
    ...['64:ff9b::8.8.8.8', '64:ff9b:1::1', '100::1', '2001::1', '2001:db8::1', '2002:7f00:1::1', '3fff::1', '5f00::1'],
    ...['fc00::1', 'fd12:3456::1', 'fe80::1', 'fe80::1%eth0', 'fec0::1', 'ff02::1', 'ff0e::1'],
    ...['', 'localhost', '127.1', '8.8.8.8/32', '08.8.8.8'],
  ])('%s is refused', (address) => {
    expect(closed.permits(address)).toBe(false);
  });

  it.each(['8.8.8.8', '172.32.0.1', '100.128.0.1', '::ffff:8.8.8.8', '2606:4700:4700::1111', '2a00:1450::1'])(
    '%s is permitted',
    (address) => {
      expect(closed.permits(address)).toBe(true);
    },
  );

  it('what the setting allows is permitted in every spelling, and its neighbours are not', () => {
    const policy = new TargetPolicy({ allow: ['192.168.7.0/24', '::1', '64:ff9b::/96'] });
    for (const address of ['192.168.7.9', '::ffff:192.168.7.9', '0:0:0:0:0:0:0:1', '64:ff9b::808:808'])
      expect(policy.permits(address), address).toBe(true);
    for (const address of ['192.168.8.1', '127.0.0.1', '::', 'fe80::1']) expect(policy.permits(address)).toBe(false);
  });
});

describe('targets', () => {
  it('gives the addresses of a name, and only the permitted ones', async () => {
    const policy = new TargetPolicy({ allow: [] }, names({ 'cdn.example': ['10.0.0.1', '8.8.8.8', '2a00:1450::1'] }));
    const target = await policy.resolve('https://cdn.example/live?key=1', WEB);
    expect(target.addresses).toEqual(['8.8.8.8', '2a00:1450::1']);
    expect(target.url.pathname).toBe('/live');
  });

  it.each([
    ['http://127.0.0.1/', 'its address 127.0.0.1 is private'],
    ['http://0x7f.1:80/', 'its address 127.0.0.1 is private'],
    ['http://2130706433/', 'its address 127.0.0.1 is private'],
    ['http://[::ffff:127.0.0.1]/', 'its address 127.0.0.1 is private'],
    ['rtsp://0x7f.1/', 'its address 127.0.0.1 is private'],
    ['rtsp://[fe80::1]:554/cam', 'its address fe80::1 is private'],
    ['http://metadata.example/', 'its address 169.254.169.254 is private'],
    ['http://two.example/', 'its addresses are private'],
    ['file:///etc/passwd', 'its scheme is not http, https, rtsp'],
    ['gopher://8.8.8.8/', 'its scheme is not http, https, rtsp'],
    ['rtsp:///cam', 'it names no host'],
    ['rtsp://%31.1.1.1/', 'it names no host'],
    ['no url', 'it is no URL'],
  ])('%s is refused: %s', async (url, reason) => {
    const table = { 'metadata.example': ['169.254.169.254'], 'two.example': ['10.0.0.1', 'fd00::1'] };
    const policy = new TargetPolicy({ allow: [] }, names(table));
    const error = await failure(policy.resolve(url, ['http:', 'https:', 'rtsp:']));
    expect(error).toMatchObject({ code: 'target.refused' });
    expect(error.message).toContain(reason);
  });

  it('connects to what was checked, though the name is answered differently a moment later (DNS rebinding)', async () => {
    let asked = 0;
    const policy = new TargetPolicy({ allow: ['127.0.0.2'] }, () =>
      Promise.resolve([{ address: ++asked === 1 ? '127.0.0.2' : '127.0.0.1' }]),
    );
    const { lookup } = await policy.resolve('http://rebind.example/', WEB);
    for (let connection = 0; connection < 2; connection += 1) {
      const address = await new Promise((resolve) => lookup('rebind.example', {}, (_error, found) => resolve(found)));
      expect(address).toBe('127.0.0.2');
    }
    expect(asked).toBe(1);
  });

  it('path, query, user and password do not stand in a message', async () => {
    const error = await failure(closed.resolve('rtsp://user:pass@127.0.0.1/secret?secret', ['rtsp:']));
    expect(JSON.stringify(error)).not.toMatch(/secret|pass|user/);
  });

  it('a name without an address, and a resolver that fails or hangs, are unreachable', async () => {
    expect(await failure(new TargetPolicy({ allow: [] }, names({})).resolve('http://none.example', WEB))).toMatchObject(
      {
        code: 'target.unreachable',
        retryable: true,
      },
    );
    const failing = new TargetPolicy({ allow: [] }, () => Promise.reject(new Error('SERVFAIL')));
    expect((await failure(failing.resolve('http://a.example', WEB))).message).toContain('SERVFAIL');
    vi.useFakeTimers();
    const hanging = failure(
      new TargetPolicy({ allow: [] }, () => new Promise(() => undefined)).resolve('http://a', WEB),
    );
    await vi.advanceTimersByTimeAsync(5000);
    expect((await hanging).message).toContain('does not answer');
  });

  it('lookup yields one address or all, of the family that is asked for', async () => {
    const policy = new TargetPolicy({ allow: [] }, names({ 'a.example': ['2a00:1450::1', '8.8.8.8'] }));
    const { lookup } = await policy.resolve('https://a.example', WEB);
    const ask = (options: object) =>
      new Promise((resolve) => lookup('a.example', options, (error, ...found) => resolve(error?.code ?? found)));
    expect(await ask({})).toEqual(['2a00:1450::1', 6]);
    expect(await ask({ family: 4 })).toEqual(['8.8.8.8', 4]);
    expect(await ask({ all: true, family: 6 })).toEqual([[{ address: '2a00:1450::1', family: 6 }]]);
    const ipv4 = await closed.resolve('https://8.8.8.8', WEB);
    await new Promise<void>((resolve) =>
      ipv4.lookup('x', { family: 6 }, (error) => {
        expect(error?.code).toBe('ENOTFOUND');
        resolve();
      }),
    );
  });
});

describe('redirects', () => {
  const policy = new TargetPolicy({ allow: [] }, names({ 'a.example': ['8.8.8.8'], 'in.example': ['10.0.0.1'] }));

  it('are followed, relative ones too, to checked addresses only', async () => {
    const first = await policy.resolve('https://8.8.4.4/live/a', WEB);
    const second = await policy.redirect(first, 'b', WEB);
    expect(second).toMatchObject({ addresses: ['8.8.4.4'], redirects: 1 });
    expect(second.url.href).toBe('https://8.8.4.4/live/b');
    expect((await policy.redirect(second, 'https://a.example/', WEB)).addresses).toEqual(['8.8.8.8']);
    for (const location of [
      'https://in.example/',
      'https://127.0.0.1/',
      'http://8.8.8.8/',
      'file:///etc',
      'https://',
    ]) {
      expect(await failure(policy.redirect(second, location, WEB)), location).toMatchObject({ code: 'target.refused' });
    }
  });

  it('end after five', async () => {
    let target = await policy.resolve('https://a.example/0', WEB);
    for (let hop = 1; hop <= 5; hop += 1) target = await policy.redirect(target, `/${hop}`, WEB);
    expect((await failure(policy.redirect(target, '/6', WEB))).message).toContain('more than 5 times');
  });

  it('are the statuses that name another place', () => {
    expect([200, 300, 301, 302, 303, 304, 307, 308].filter(isRedirect)).toEqual([301, 302, 303, 307, 308]);
  });
});
