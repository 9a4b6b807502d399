import { readFileSync } from 'node:fs';
import { CandidatePair, Connection, StunProtocol } from 'werift';
import { describe, expect, it } from 'vitest';
import { WERIFT_VERSION } from '../werift-internals.ts';

describe('private members of werift that server/rtc uses', () => {
  it('are those of the pinned version', () => {
    const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
      dependencies: Readonly<Record<string, string>>;
    };
    expect(dependencies['werift']).toBe(WERIFT_VERSION);
  });

  it.each(['ensureProtocol', 'appendLocalCandidate'])('Connection.%s() exists', (name) => {
    expect(Reflect.get(Connection.prototype, name)).toBeInstanceOf(Function);
  });

  it('Connection.protocols is a list', () => {
    const connection = new Connection(false, { useIpv4: false, useIpv6: false });
    expect(Reflect.get(connection, 'protocols')).toEqual([]);
  });

  it('StunProtocol.datagramReceived() exists', () => {
    expect(Reflect.get(StunProtocol.prototype, 'datagramReceived')).toBeInstanceOf(Function);
  });

  it('CandidatePair.requestTransactionIds is a set', () => {
    const pair = new CandidatePair(new StunProtocol(), undefined as never, false);
    expect(Reflect.get(pair, 'requestTransactionIds')).toBeInstanceOf(Set);
  });
});
