import { readFileSync } from 'node:fs';
import { CandidatePair, Connection, DtlsServer, StunProtocol } from 'werift';
import { describe, expect, it } from 'vitest';
import { certificate } from '../dtls-certificate.ts';
import { WERIFT_VERSION, dtlsTransport } from '../werift-internals.ts';

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

  it('DtlsServer has bufferFragmentedHandshakes and a cipher with encryptPacket() and decryptPacket()', async () => {
    const { certPem, privateKey, signatureHash } = await certificate();
    const { transport } = dtlsTransport(() => undefined);
    const server = new DtlsServer({ cert: certPem, key: privateKey, signatureHash, transport, srtpProfiles: [] });
    expect(Reflect.get(server, 'bufferFragmentedHandshakes')).toEqual([]);
    expect(Reflect.get(server.cipher, 'encryptPacket')).toBeInstanceOf(Function);
    expect(Reflect.get(server.cipher, 'decryptPacket')).toBeInstanceOf(Function);
    expect(Reflect.get(transport, 'onData')).toBeInstanceOf(Function);
  });
});
