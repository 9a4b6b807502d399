import { expect, it } from 'vitest';
import { clientAddress, parseNetwork, type TrustProxy } from '../client-address.ts';

it.each<[string, string | undefined, TrustProxy, string]>([
  // No header is believed unless the configuration says so.
  ['10.0.0.1', '203.0.113.9', false, '10.0.0.1'],
  ['10.0.0.1', undefined, 1, '10.0.0.1'],
  ['10.0.0.1', '203.0.113.9', 1, '203.0.113.9'],
  // What the client wrote itself stands left of what the proxies add.
  ['10.0.0.1', '1.1.1.1, 203.0.113.9', 1, '203.0.113.9'],
  ['10.0.0.1', '1.1.1.1, 203.0.113.9, 10.0.0.2', 2, '203.0.113.9'],
  ['10.0.0.1', '203.0.113.9', 3, '203.0.113.9'],
  ['10.0.0.1', '1.1.1.1, 203.0.113.9, 10.0.0.2', ['10.0.0.0/8'], '203.0.113.9'],
  // A direct peer is the client, whatever its headers claim.
  ['203.0.113.9', '1.1.1.1', ['10.0.0.0/8'], '203.0.113.9'],
  ['::ffff:10.0.0.1', '203.0.113.9', ['10.0.0.1'], '203.0.113.9'],
  ['::1', '2001:db8::7', ['::1', '127.0.0.1'], '2001:db8::7'],
  ['10.0.0.1', '203.0.113.9:5123', 1, '203.0.113.9'],
  ['10.0.0.1', '[2001:db8::7]:5123', 1, '2001:db8::7'],
  ['10.0.0.1', 'unknown', 1, '10.0.0.1'],
  ['10.0.0.1', '', 1, '10.0.0.1'],
])('%s with X-Forwarded-For %s and trust %o is %s', (remote, forwarded, trust, client) => {
  expect(clientAddress(remote, forwarded, trust)).toBe(client);
});

it('reads addresses and networks, and nothing else', () => {
  expect(parseNetwork('10.0.0.0/8')).toEqual({ address: '10.0.0.0', bits: 8, family: 'ipv4' });
  expect(parseNetwork('2001:db8::')).toEqual({ address: '2001:db8::', bits: 128, family: 'ipv6' });
  for (const wrong of ['proxy', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/x', ''])
    expect(parseNetwork(wrong)).toBeUndefined();
});
