import { describe, expect, it } from 'vitest';
import { HostileDtlsPeer, withMessage } from '../../../../testing/hostile/dtls-peer.ts';
import { uint16 } from '../bytes.ts';
import type { Extensions } from '../extensions.ts';
import { readClientHello, readServerHello, writeClientHello, writeServerHello } from '../hello-messages.ts';
import { ContentType, HandshakeType } from '../protocol.ts';
import { RecordWriter } from '../records.ts';
import { wholeMessage } from '../transcript.ts';
import { CERTIFICATES, End, FakeClock, fingerprintOf, Pair } from '../../../../testing/dtls-pair.ts';

/** What both sides must have in common; what is weak is never taken. */

const GOOD: Extensions = {
  extendedMasterSecret: true,
  supportedGroups: [29, 23],
  pointFormats: [0],
  signatureAlgorithms: [0x0403, 0x0804],
  useSrtp: { profiles: [7, 1], mki: Buffer.alloc(0) },
};

function helloRecord(messageSequence: number, body: Buffer): Buffer {
  const message = wholeMessage({ type: HandshakeType.clientHello, messageSequence, body });
  return new RecordWriter().write(ContentType.handshake, 0, message);
}

/** Offers twice, the second time with the cookie, as a real client does. @returns the server's end */
function offer(body: (cookie: Buffer) => Buffer): End {
  const end = new End({
    role: 'server',
    certificate: CERTIFICATES.server,
    remoteFingerprints: fingerprintOf(CERTIFICATES.client),
    srtpProfiles: ['AEAD_AES_128_GCM', 'AES128_CM_HMAC_SHA1_80'],
    clock: new FakeClock(),
  });
  end.session.start();
  end.session.receive(helloRecord(0, body(Buffer.alloc(0))));
  const [answer] = end.sent;
  if (answer?.[13] === HandshakeType.helloVerifyRequest) {
    end.session.receive(helloRecord(1, body(Buffer.from(answer.subarray(28)))));
  }
  return end;
}

const hello = (suites: readonly number[], extensions: Extensions) => (cookie: Buffer) =>
  writeClientHello({ random: Buffer.alloc(32, 7), cookie, suites, extensions });
/** The extensions without one. */
const without = (name: keyof Extensions): Extensions => {
  const { [name]: _left, ...rest } = GOOD;
  return rest;
};

describe('as server', () => {
  it('answers a good offer at once, without a cookie', () => {
    const end = offer(hello([0xc02b], GOOD));
    expect(end.events).toEqual([]);
    expect(end.sent[0]?.[13]).toBe(HandshakeType.serverHello);
  });

  it.each<readonly [string, (cookie: Buffer) => Buffer, string]>([
    ['CBC suites', hello([0xc009, 0xc00a, 0xc013, 0x002f], GOOD), 'noCommonSuite'],
    ['suites without forward secrecy', hello([0x009c, 0x009d], GOOD), 'noCommonSuite'],
    ['suites of an RSA certificate, ours is ECDSA', hello([0xc02f, 0xc030], GOOD), 'noCommonSuite'],
    ['anonymous and NULL suites', hello([0xc018, 0xc006, 0x0000], GOOD), 'noCommonSuite'],
    ['no extended_master_secret', hello([0xc02b], without('extendedMasterSecret')), 'noExtendedMasterSecret'],
    ['no use_srtp', hello([0xc02b], without('useSrtp')), 'noCommonSrtpProfile'],
    [
      'SRTP without encryption',
      hello([0xc02b], { ...GOOD, useSrtp: { profiles: [5, 6], mki: Buffer.alloc(0) } }),
      'noCommonSrtpProfile',
    ],
    ['SHA-1 signatures only', hello([0xc02b], { ...GOOD, signatureAlgorithms: [0x0203, 0x0201] }), 'noCommonSignature'],
    ['MD5 signatures only', hello([0xc02b], { ...GOOD, signatureAlgorithms: [0x0103, 0x0101] }), 'noCommonSignature'],
    [
      'no signature algorithms, which means SHA-1',
      hello([0xc02b], without('signatureAlgorithms')),
      'noCommonSignature',
    ],
    ['other groups', hello([0xc02b], { ...GOOD, supportedGroups: [22, 25, 30] }), 'noCommonGroup'],
    ['compressed points only', hello([0xc02b], { ...GOOD, pointFormats: [1] }), 'noCommonGroup'],
    ['a renegotiation', hello([0xc02b], { ...GOOD, renegotiationInfo: Buffer.alloc(12, 1) }), 'renegotiation'],
    ['DTLS 1.0', versioned(hello([0xc02b], GOOD), 0xfeff), 'protocolVersion'],
    ['DTLS 1.3 alone', withVersions(hello([0xc02b], GOOD), [0xfefc]), 'protocolVersion'],
    ['compression alone', compressed(hello([0xc02b], GOOD)), 'illegalParameter'],
  ])('refuses %s, at the second ClientHello', (_what, body, reason) => {
    const end = offer(body);
    expect(end.sent[0]?.[13]).toBe(HandshakeType.helloVerifyRequest);
    expect(end.events).toEqual(['failed']);
    expect(end.reason).toBe(reason);
    expect(end.session.counters.asymmetricOperations).toBe(0);
  });

  it('takes DTLS 1.2 of an offer of 1.3 and 1.2, without the downgrade mark of a server of 1.3', () => {
    const end = offer(withVersions(hello([0x1301, 0xc02b], GOOD), [0x7a7a, 0xfefc, 0xfefd]));
    const answer = readServerHello(
      (end.sent[0] as Buffer).subarray(25, 25 + (end.sent[0] as Buffer).readUIntBE(14, 3)),
    );
    expect(answer.version).toBe(0xfefd);
    expect(answer.random.subarray(24, 31).toString('latin1')).not.toBe('DOWNGRD');
  });

  it('answers no extension that was not asked', () => {
    const end = offer(hello([0xc02b], without('pointFormats')));
    const answer = readServerHello(
      (end.sent[0] as Buffer).subarray(25, 25 + (end.sent[0] as Buffer).readUIntBE(14, 3)),
    );
    expect([...answer.extensionTypes].sort((a, b) => a - b)).toEqual([14, 23]);
  });

  it.each([
    [['AEAD_AES_256_GCM', 'AEAD_AES_128_GCM'] as const, 'AEAD_AES_256_GCM', 32],
    [['AES128_CM_HMAC_SHA1_80'] as const, 'AES128_CM_HMAC_SHA1_80', 16],
  ])('takes the first of its profiles that both have: %s', (srtpProfiles, profile, keyBytes) => {
    const client = { srtpProfiles: ['AES128_CM_HMAC_SHA1_80', 'AEAD_AES_256_GCM'] as const };
    const pair = new Pair({ server: { srtpProfiles }, client }).start().run();
    expect(pair.client.keys?.profile).toBe(profile);
    expect(pair.client.keys?.local.masterKey).toHaveLength(keyBytes);
    expect(pair.client.keys?.local).toEqual(pair.server.keys?.remote);
  });
});

describe('as client', () => {
  type ServerHello = ReturnType<typeof readServerHello>;
  const edit = (change: (hello: ServerHello) => Partial<ServerHello>) => (body: Buffer) => {
    const old = readServerHello(body);
    const { random, suite, extensions } = { ...old, ...change(old) };
    return writeServerHello({ random, suite, extensions });
  };
  const SRTP = { profiles: [7], mki: Buffer.alloc(0) };

  it.each<readonly [string, (body: Buffer) => Buffer, string]>([
    ['DTLS 1.0', (body) => Buffer.concat([uint16(0xfeff), body.subarray(2)]), 'protocolVersion'],
    ['DTLS 1.3', (body) => Buffer.concat([uint16(0xfefc), body.subarray(2)]), 'protocolVersion'],
    ['a suite that was not offered', edit(() => ({ suite: 0xc013 })), 'noCommonSuite'],
    [
      'compression',
      (body) => Buffer.concat([body.subarray(0, 37), Buffer.from([1]), body.subarray(38)]),
      'noCommonSuite',
    ],
    ['no extended_master_secret', edit(() => ({ extensions: { useSrtp: SRTP } })), 'noExtendedMasterSecret'],
    ['no use_srtp', edit(() => ({ extensions: { extendedMasterSecret: true } })), 'noCommonSrtpProfile'],
    ['an SRTP profile that was not offered', srtp({ profiles: [1], mki: Buffer.alloc(0) }), 'noCommonSrtpProfile'],
    ['two SRTP profiles', srtp({ profiles: [7, 7], mki: Buffer.alloc(0) }), 'noCommonSrtpProfile'],
    ['an MKI', srtp({ profiles: [7], mki: Buffer.from([1]) }), 'noCommonSrtpProfile'],
    [
      'an extension that was not asked',
      (body) => {
        const end = body.length;
        const more = Buffer.concat([body, Buffer.from([0, 35, 0, 0])]);
        more.writeUInt16BE(end - 40 + 4, 38);
        return more;
      },
      'illegalParameter',
    ],
    [
      'a renegotiation',
      edit(({ extensions }) => ({ extensions: { ...extensions, renegotiationInfo: Buffer.from([1]) } })),
      'renegotiation',
    ],
  ])('refuses a ServerHello with %s', (_what, tamper, reason) => {
    const clock = new FakeClock();
    const end = new End({
      role: 'client',
      certificate: CERTIFICATES.client,
      remoteFingerprints: fingerprintOf(CERTIFICATES.server),
      srtpProfiles: ['AEAD_AES_128_GCM'],
      clock,
    });
    const peer = new HostileDtlsPeer({
      role: 'server',
      certificate: CERTIFICATES.server,
      remoteFingerprints: fingerprintOf(CERTIFICATES.client),
      send: (datagram) => end.session.receive(datagram),
      tamper: (flight) => withMessage(flight, HandshakeType.serverHello, tamper),
    });
    end.deliver = (datagram) => clock.after(1, () => peer.receive(datagram));
    end.session.start();
    clock.advance(100);
    expect(end.events).toEqual(['failed']);
    expect(end.reason).toBe(reason);
  });

  function srtp(useSrtp: NonNullable<Extensions['useSrtp']>) {
    return edit(({ extensions }) => ({ extensions: { ...extensions, useSrtp } }));
  }

  it('makes an offer that our server reads', () => {
    const pair = new Pair();
    pair.client.session.start();
    const [datagram] = pair.client.sent as [Buffer];
    expect(datagram.readUInt16BE(1)).toBe(0xfeff);
    const sent = readClientHello(datagram.subarray(25));
    expect(sent.version).toBe(0xfefd);
    expect(sent.suites).toContain(0x00ff);
    expect(sent.suites).toContain(0xc02f);
    expect(sent.extensions.signatureAlgorithms?.every((scheme) => scheme >> 8 !== 2 && scheme >> 8 !== 1)).toBe(true);
  });
});

function versioned(body: (cookie: Buffer) => Buffer, version: number) {
  return (cookie: Buffer) => Buffer.concat([uint16(version), body(cookie).subarray(2)]);
}

/** With supported_versions, which this engine does not write. */
function withVersions(body: (cookie: Buffer) => Buffer, versions: readonly number[]) {
  return (cookie: Buffer) => {
    const bytes = body(cookie);
    const list = Buffer.concat(versions.map(uint16));
    const extension = Buffer.concat([uint16(43), uint16(list.length + 1), Buffer.from([list.length]), list]);
    const lengthAt = bytes.length - extensionBytes(bytes) - 2;
    const more = Buffer.concat([bytes, extension]);
    more.writeUInt16BE(extensionBytes(bytes) + extension.length, lengthAt);
    return more;
  };
}

/** DEFLATE in place of null. */
function compressed(body: (cookie: Buffer) => Buffer) {
  return (cookie: Buffer) => {
    const bytes = body(cookie);
    bytes[bytes.length - extensionBytes(bytes) - 3] = 1;
    return bytes;
  };
}

function extensionBytes(clientHello: Buffer): number {
  const cookieAt = 34 + 1;
  const suitesAt = cookieAt + 1 + (clientHello[cookieAt] as number);
  const extensionsAt = suitesAt + 2 + clientHello.readUInt16BE(suitesAt) + 2;
  return clientHello.readUInt16BE(extensionsAt);
}
