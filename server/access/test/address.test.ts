import { describe, expect, it } from 'vitest';
import { canonicalAddress, hostName, isLoopbackHost } from '../address.ts';

describe('canonicalAddress', () => {
  it.each([
    ['1.2.3.4', '1.2.3.4'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['::FFFF:102:304', '1.2.3.4'],
    ['0:0:0:0:0:ffff:1.2.3.4', '1.2.3.4'],
    ['2001:0DB8:0000:0001::2', '2001:db8:0:1::2'],
    ['2001:db8::1%eth0', '2001:db8::1'],
    ['::1', '::1'],
  ])('%s is %s', (text, canonical) => {
    expect(canonicalAddress(text)).toBe(canonical);
  });

  it('takes nothing else for an address', () => {
    for (const text of ['', '127.1', '0x7f000001', 'localhost', '127.evil.example', '1.2.3.4:80', '[::1]']) {
      expect(canonicalAddress(text)).toBeUndefined();
    }
  });
});

describe('isLoopbackHost', () => {
  it.each([
    'localhost',
    'LOCALHOST:80',
    'localhost.',
    'page.localhost',
    '127.0.0.1',
    '127.8.9.10:8080',
    '::1',
    '[::1]:80',
  ])('%s is loopback', (host) => expect(isLoopbackHost(host)).toBe(true));

  it.each(['2130706433', '0x7f.1', '0177.0.0.1', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]'])(
    'so is %s, which a browser makes into a loopback address',
    (host) => expect(isLoopbackHost(host)).toBe(true),
  );

  it.each([
    '127.evil.example',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'evil.example',
    '0.0.0.0',
    '128.0.0.1',
    '',
    'a@127.0.0.1',
    '127.0.0.1/x',
  ])('%s is not', (host) => expect(isLoopbackHost(host)).toBe(false));

  it('gives hosts one spelling', () => {
    expect(hostName('Example.ORG.:8080')).toBe('example.org');
    expect(hostName('[2001:DB8::0:1]:80')).toBe('[2001:db8::1]');
    expect(hostName('evil.example, localhost')).toBeUndefined();
  });
});
