import { describe, expect, it } from 'vitest';
import { AddressCount, AddressRates, RateLimit, addressKey } from '../limits.ts';

describe('RateLimit', () => {
  it('lets a burst through, then the average and no more', () => {
    const limit = new RateLimit(10, 20, 0);
    const taken = (nowMs: number) => Array.from({ length: 100 }, () => limit.take(nowMs)).filter(Boolean).length;
    expect(taken(0)).toBe(20);
    expect(taken(500)).toBe(5);
    expect(taken(500)).toBe(0);
    expect(taken(60_000)).toBe(20);
  });

  it('does not refill when the clock goes back', () => {
    const limit = new RateLimit(1, 1, 1000);
    expect(limit.take(1000)).toBe(true);
    expect(limit.take(0)).toBe(false);
  });
});

describe('addressKey', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:10.0.0.7', '10.0.0.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:2::9', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ])('%s counts as %s', (address, key) => expect(addressKey(address)).toBe(key));
});

describe('AddressCount', () => {
  it('counts households apart and forgets those that left', () => {
    const count = new AddressCount(2);
    expect([count.enter('10.0.0.1'), count.enter('::ffff:10.0.0.1'), count.enter('10.0.0.1')]).toEqual([
      true,
      true,
      false,
    ]);
    expect(count.enter('10.0.0.2')).toBe(true);
    count.exit('10.0.0.1');
    expect(count.enter('10.0.0.1')).toBe(true);
    for (const address of ['10.0.0.1', '10.0.0.1', '10.0.0.2']) count.exit(address);
    expect(count.addresses).toBe(0);
  });
});

describe('AddressRates', () => {
  it('each address has its own share, an IPv6 /64 is one', () => {
    const rates = new AddressRates(1, 2);
    expect([rates.take('192.0.2.1', 0), rates.take('192.0.2.1', 0), rates.take('192.0.2.1', 0)]).toEqual([
      true,
      true,
      false,
    ]);
    expect(rates.take('192.0.2.2', 0)).toBe(true);
    expect([rates.take('2001:db8::1', 0), rates.take('2001:db8::2', 0), rates.take('2001:db8::3', 0)]).toEqual([
      true,
      true,
      false,
    ]);
    expect(rates.take('192.0.2.1', 1000)).toBe(true);
  });

  it('remembers a bounded number of addresses, those seen last', () => {
    const rates = new AddressRates(1, 1);
    rates.take('192.0.2.1', 0);
    for (let n = 0; n < 20_000; n += 1) {
      rates.take(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, 0);
      if (n % 1000 === 0) expect(rates.take('192.0.2.1', 0)).toBe(false);
    }
    expect(rates.addresses).toBeLessThanOrEqual(8192);
  });
});
