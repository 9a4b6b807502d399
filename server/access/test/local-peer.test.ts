import { describe, expect, it } from 'vitest';
import { isLocalRequest, isNamed, type AddressedRequest } from '../local-peer.ts';

const request = (remoteAddress: string, headers: AddressedRequest['headers'] = { host: 'localhost:8080' }) => ({
  socket: { remoteAddress },
  headers,
});

describe('isLocalRequest', () => {
  it('takes a program on this machine', () => {
    for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
      expect(isLocalRequest(request(address))).toBe(true);
    }
  });

  it('refuses other machines, a proxy on this one, and a page whose name was pointed here (DNS rebinding)', () => {
    expect(isLocalRequest(request('192.0.2.1'))).toBe(false);
    expect(isLocalRequest(request('127.0.0.1', { host: 'localhost', 'x-forwarded-for': '192.0.2.1' }))).toBe(false);
    expect(isLocalRequest(request('127.0.0.1', { host: 'localhost', via: '1.1 proxy' }))).toBe(false);
    expect(isLocalRequest(request('127.0.0.1', { host: '127.evil.example:8080' }))).toBe(false);
    expect(isLocalRequest(request('127.0.0.1', {}))).toBe(false);
  });
});

describe('isNamed', () => {
  it('loopback: nobody, what this machine may do is not asked here; all: every address', () => {
    expect(isNamed(request('127.0.0.1'), 'loopback', false)).toBe(false);
    expect(isNamed(request('192.0.2.1'), 'loopback', false)).toBe(false);
    expect(isNamed(request('192.0.2.1'), 'all', false)).toBe(true);
  });

  it('networks: by the client behind trusted proxies, never by what the client wrote', () => {
    const networks = ['10.0.0.0/8', '2001:db8::/32'];
    expect(isNamed(request('10.1.2.3'), networks, false)).toBe(true);
    expect(isNamed(request('::ffff:10.1.2.3'), networks, false)).toBe(true);
    expect(isNamed(request('2001:db8::7'), networks, false)).toBe(true);
    expect(isNamed(request('192.0.2.1'), networks, false)).toBe(false);
    const forged = { host: 'sr.example.org', 'x-forwarded-for': '10.1.2.3' };
    expect(isNamed(request('192.0.2.1', forged), networks, false)).toBe(false);
    const proxied = { host: 'sr.example.org', 'x-forwarded-for': '10.1.2.3, 192.0.2.7' };
    expect(isNamed(request('172.16.0.1', proxied), networks, 1)).toBe(false);
  });
});
