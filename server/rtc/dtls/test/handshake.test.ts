import { describe, expect, it } from 'vitest';
import { MTU_BYTES } from '../limits.ts';
import { Pair, seeded } from '../../../../testing/dtls-pair.ts';

describe('both roles against each other', () => {
  it('connect within two round trips and share keys', () => {
    const pair = new Pair({ delayMs: 10 }).start().run(41);
    expect(pair.server.events).toEqual(['connected']);
    expect(pair.client.events).toEqual(['connected']);
    expect(pair.client.keys?.profile).toBe('AEAD_AES_128_GCM');
    expect(pair.client.keys?.local).toEqual(pair.server.keys?.remote);
    expect(pair.client.keys?.remote).toEqual(pair.server.keys?.local);
    expect(pair.client.keys?.local).not.toEqual(pair.client.keys?.remote);
    for (const datagram of [...pair.server.sent, ...pair.client.sent]) {
      expect(datagram.length).toBeLessThanOrEqual(MTU_BYTES);
    }
  });

  it('a link that loses 30 %, repeats 20 % and mixes the order only delays them (200 seeds)', () => {
    let repeated = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const random = seeded(seed);
      const delayMs = (next: () => number) => 5 + 200 * next();
      const pair = new Pair({ random, delayMs, lossShare: 0.3, repeatShare: 0.2 }).start().run(29_000);
      expect({ seed, client: pair.client.events, server: pair.server.events }).toEqual({
        seed,
        client: ['connected'],
        server: ['connected'],
      });
      expect(pair.client.keys?.local).toEqual(pair.server.keys?.remote);
      repeated += pair.server.session.counters.repeatedFlights;
    }
    expect(repeated).toBeGreaterThan(200);
  });
});
