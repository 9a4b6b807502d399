import { describe, expect, it } from 'vitest';
import { testRtcOptions } from '../../../../testing/rtc-options.ts';
import { readIceServers } from '../candidates.ts';
import { currentIceServers } from '../turn-credentials.ts';

const NOW_MS = Date.UTC(2026, 11, 1) - 86_400_000;
const URLS = 'turn:turn.example.org?transport=tcp';

describe('temporary TURN credentials', () => {
  // printf %s 1796083200:page | openssl dgst -sha1 -hmac north -binary | base64
  it.each([
    ['page', '1796083200:page', 'FzbarJIFHFaeupH2Xmz2jab8oDM='],
    [undefined, '1796083200', 'TO5hXbqtAJBbZPc0SZulsoGKano='],
  ])('are what coturn’s use-auth-secret expects (id: %s)', (id, username, credential) => {
    const server = { urls: URLS, secret: 'north', ...(id === undefined ? {} : { username: id }) };
    expect(currentIceServers([server], NOW_MS)).toEqual([{ urls: URLS, username, credential }]);
  });

  it('expire after the configured lifetime, and differ a second later', () => {
    const server = { urls: URLS, secret: 'north', lifetimeSeconds: 60 };
    const [first] = currentIceServers([server], NOW_MS);
    expect(first?.username).toBe(String(NOW_MS / 1000 + 60));
    expect(currentIceServers([server], NOW_MS + 1000)).not.toEqual([first]);
  });

  it('leave other servers as they are configured', () => {
    const servers = [{ urls: 'stun:stun.example.org' }, { urls: URLS, username: 'u', credential: 'c' }];
    expect(currentIceServers(servers, NOW_MS)).toEqual(servers);
  });

  it('serve our own relay, too', () => {
    const { turnUsername, turnPassword } = readIceServers(testRtcOptions({ servers: [{ urls: URLS, secret: 's' }] }));
    expect(turnUsername).toMatch(/^\d{10}$/);
    expect(turnPassword).toMatch(/^[\w+/]{27}=$/);
  });

  it.each([
    [{ urls: 'stun:stun.example.org', secret: 's' }, 'is no TURN server'],
    [{ urls: URLS, secret: 's', username: 'u', credential: 'c' }, 'a secret and a credential'],
    [{ urls: URLS, username: 'u', credential: 'c', lifetimeSeconds: 60 }, 'lifetimeSeconds without the secret'],
    [{ urls: URLS, username: 'u' }, 'needs a username and a credential, or a secret'],
  ])('%j is refused', (server, message) => {
    expect(() => readIceServers(testRtcOptions({ servers: [server] }))).toThrow(message);
  });
});
