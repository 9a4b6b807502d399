import { describe, expect, it } from 'vitest';
import { checkOrigin } from '../origin.ts';

const loopback = { allowedOrigins: [] as string[], loopbackOnly: true };
const open = { allowedOrigins: ['https://tv.example.org'], loopbackOnly: false };

describe('checkOrigin', () => {
  it.each([
    ['a program without Origin', undefined, 'localhost:8080', loopback],
    ['the own page', 'http://localhost:8080', 'localhost:8080', loopback],
    ['the own page by IPv6', 'http://[::1]:8080', '[::1]:8080', loopback],
    ['the own page on a public host', 'https://sr.example.org', 'sr.example.org', open],
    ['a default port written out', 'https://sr.example.org', 'SR.example.org:443', open],
    ['an allowed origin', 'https://tv.example.org', 'sr.example.org', open],
    ['the own page by a hexadecimal address', 'http://0x7f.1:8080', '0x7f.1:8080', loopback],
    ['the own page by a mapped address', 'http://[::ffff:127.0.0.1]:80', '[::ffff:7f00:1]', loopback],
    [
      'any origin, if allowed by *',
      'https://x.example',
      'sr.example.org',
      { allowedOrigins: ['*'], loopbackOnly: true },
    ],
  ])('lets in %s', (_what, origin, host, policy) => {
    expect(() => checkOrigin({ origin, host }, policy)).not.toThrow();
  });

  it.each([
    ['another host', 'https://evil.example', 'sr.example.org', open],
    ['another port of the same host', 'http://localhost:3000', 'localhost:8080', loopback],
    ['an opaque origin', 'null', 'localhost:8080', loopback],
    ['text that is no origin', 'javascript', 'localhost:8080', loopback],
    ['a request without Host', 'http://localhost:8080', undefined, loopback],
    ['a foreign name that begins with 127.', 'http://127.evil.example:80', '127.evil.example:80', loopback],
    ['an address as a label', 'http://127.0.0.1.evil.example', '127.0.0.1.evil.example', loopback],
    ['two hosts in one', 'http://localhost:8080', 'evil.example, localhost:8080', loopback],
    ['a foreign name that resolves to loopback (DNS rebinding)', 'http://evil.example:80', 'evil.example:80', loopback],
  ])('refuses %s', (_what, origin, host, policy) => {
    expect(() => checkOrigin({ origin, host }, policy)).toThrow(expect.objectContaining({ code: 'request.origin' }));
  });
});
