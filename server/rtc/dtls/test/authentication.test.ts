import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  flipBit,
  HostileDtlsPeer,
  withMessage,
  withoutMessage,
  type HostileDtlsOptions,
} from '../../../../testing/hostile/dtls-peer.ts';
import { der, integer, sequence } from '../der.ts';
import type { Flight } from '../flight.ts';
import { writeCertificates } from '../key-messages.ts';
import { ownCertificate, type OwnCertificate } from '../own-certificate.ts';
import { HandshakeType } from '../protocol.ts';
import type { DtlsOptions } from '../session.ts';
import { CERTIFICATES, End, FakeClock, fingerprintOf } from '../../../../testing/dtls-pair.ts';

/** One forged message a test: the session must not connect, and must say why. */

const { server: OURS, client: THEIRS, other: OTHER } = CERTIFICATES;

/** A session of ours in this role against a peer that tampers. */
function against(
  role: 'server' | 'client',
  hostile: Partial<HostileDtlsOptions> = {},
  ours: Partial<DtlsOptions> = {},
) {
  const clock = new FakeClock();
  const end = new End({
    role,
    certificate: OURS,
    remoteFingerprints: fingerprintOf(THEIRS),
    srtpProfiles: ['AEAD_AES_128_GCM'],
    clock,
    ...ours,
  });
  const peer = new HostileDtlsPeer({
    role: role === 'server' ? 'client' : 'server',
    certificate: THEIRS,
    remoteFingerprints: fingerprintOf(OURS),
    send: (datagram) => clock.after(1, () => end.session.receive(datagram)),
    ...hostile,
  });
  end.deliver = (datagram) => clock.after(1, () => peer.receive(datagram));
  end.session.start();
  peer.start();
  clock.advance(100);
  return { end, peer, clock };
}

const change = (type: number, how: (body: Buffer) => Buffer) => (flight: Flight) => withMessage(flight, type, how);
/** Certificate of one, key of another. */
const stolen = (certificate: OwnCertificate, key: OwnCertificate) => ownCertificate(certificate.der, key.privateKey);

it('an honest scripted peer connects in either role', () => {
  for (const role of ['server', 'client'] as const) {
    const { end, peer } = against(role);
    expect(end.events).toEqual(['connected']);
    const theirs = role === 'server' ? peer.keys?.client : peer.keys?.server;
    expect(end.keys?.remote).toEqual(theirs);
  }
});

describe('as server', () => {
  it.each<readonly [string, Partial<HostileDtlsOptions>, string]>([
    ['certificate of the peer, key of another', { certificate: stolen(THEIRS, OTHER) }, 'badCertificateVerify'],
    ['certificate and key of another', { certificate: OTHER }, 'fingerprintMismatch'],
    [
      'CertificateVerify that signs something else',
      { tamper: change(HandshakeType.certificateVerify, (body) => resign(body, Buffer.from('else'))) },
      'badCertificateVerify',
    ],
    [
      'CertificateVerify of garbage',
      {
        tamper: change(HandshakeType.certificateVerify, (body) =>
          Buffer.concat([body.subarray(0, 4), Buffer.alloc(body.length - 4, 0x42)]),
        ),
      },
      'badCertificateVerify',
    ],
    [
      'CertificateVerify with one bit changed',
      { tamper: change(HandshakeType.certificateVerify, (body) => flipBit(body, -1)) },
      'badCertificateVerify',
    ],
    [
      'CertificateVerify with SHA-1',
      { tamper: change(HandshakeType.certificateVerify, (body) => withScheme(body, 0x0203)) },
      'badCertificateVerify',
    ],
    [
      'CertificateVerify with an RSA scheme and an ECDSA key',
      { tamper: change(HandshakeType.certificateVerify, (body) => withScheme(body, 0x0804)) },
      'badCertificateVerify',
    ],
    ['Finished of garbage', { tamper: change(HandshakeType.finished, () => Buffer.alloc(12, 0x42)) }, 'badFinished'],
    [
      'Finished with one bit changed',
      { tamper: change(HandshakeType.finished, (body) => flipBit(body, 0)) },
      'badFinished',
    ],
    ['Finished cut short', { tamper: change(HandshakeType.finished, (body) => body.subarray(0, 4)) }, 'badFinished'],
    ['empty Finished', { tamper: change(HandshakeType.finished, () => Buffer.alloc(0)) }, 'badFinished'],
    [
      'no certificate',
      { tamper: change(HandshakeType.certificate, () => writeCertificates([])) },
      'certificateMissing',
    ],
    [
      "our own certificate in front of the peer's",
      { tamper: change(HandshakeType.certificate, () => writeCertificates([OURS.der, THEIRS.der])) },
      'fingerprintMismatch',
    ],
    [
      'a key share that is no point',
      { tamper: change(HandshakeType.clientKeyExchange, () => Buffer.concat([Buffer.from([32]), Buffer.alloc(32)])) },
      'badKeyShare',
    ],
    [
      'a key share of a wrong length',
      { tamper: change(HandshakeType.clientKeyExchange, () => Buffer.from([3, 4, 4, 4])) },
      'badKeyShare',
    ],
    [
      'another key share than the one that is signed',
      { tamper: change(HandshakeType.clientKeyExchange, otherX25519) },
      'badCertificateVerify',
    ],
  ])('%s', (_what, hostile, reason) => {
    const { end } = against('server', hostile);
    expect(end.events).toEqual(['failed']);
    expect(end.error?.code).toBe('peer.handshake');
    expect(end.reason).toBe(reason);
    expect(end.keys).toBeUndefined();
    expect(end.session.state).toBe('closed');
  });

  it.each([
    ['Certificate', HandshakeType.certificate],
    ['ClientKeyExchange', HandshakeType.clientKeyExchange],
    ['CertificateVerify', HandshakeType.certificateVerify],
  ])('%s left out: nothing behind it counts, and the deadline ends it', (_name, type) => {
    const { end, clock } = against('server', { tamper: (flight) => withoutMessage(flight, type) });
    expect(end.events).toEqual([]);
    clock.advance(30_000);
    expect(end.events).toEqual(['failed']);
    expect(end.keys).toBeUndefined();
  });

  it('nothing of a certificate is parsed before its fingerprint is right', () => {
    const garbage = ownCertificate(Buffer.alloc(300, 0x30), THEIRS.privateKey);
    expect(against('server', { certificate: garbage }).end.reason).toBe('fingerprintMismatch');
    const { end } = against('server', { certificate: garbage }, { remoteFingerprints: fingerprintOf(garbage) });
    expect(end.reason).toBe('certificateUnusable');
  });

  it.each(['ed25519', 'secp256k1', 'rsa1024', 'rsaHugeExponent'] as const)('a certificate of %s is refused', (kind) => {
    const odd = oddCertificate(kind);
    const { end } = against(
      'server',
      { tamper: change(HandshakeType.certificate, () => writeCertificates([odd.der])) },
      {
        remoteFingerprints: fingerprintOf(odd),
      },
    );
    expect(end.reason).toBe('certificateUnusable');
  });
});

describe('as client', () => {
  it.each<readonly [string, Partial<HostileDtlsOptions>, string]>([
    ['certificate of the peer, key of another', { certificate: stolen(THEIRS, OTHER) }, 'badServerKeyExchange'],
    ['certificate and key of another', { certificate: OTHER }, 'fingerprintMismatch'],
    [
      'no certificate',
      { tamper: change(HandshakeType.certificate, () => writeCertificates([])) },
      'certificateMissing',
    ],
    [
      'ServerKeyExchange with one bit of its signature changed',
      { tamper: change(HandshakeType.serverKeyExchange, (body) => flipBit(body, -1)) },
      'badServerKeyExchange',
    ],
    [
      'ServerKeyExchange with another share',
      { tamper: change(HandshakeType.serverKeyExchange, (body) => flipBit(body, 6)) },
      'badServerKeyExchange',
    ],
    [
      'ServerKeyExchange signed with SHA-1',
      { tamper: change(HandshakeType.serverKeyExchange, (body) => withScheme(body, 0x0203, 36)) },
      'badServerKeyExchange',
    ],
    [
      'ServerHello of another handshake (the randoms are signed)',
      { tamper: change(HandshakeType.serverHello, (body) => flipBit(body, 10)) },
      'badServerKeyExchange',
    ],
    [
      'ServerKeyExchange of a group that was not offered',
      {
        tamper: change(HandshakeType.serverKeyExchange, (body) =>
          Buffer.concat([Buffer.from([3, 0, 25]), body.subarray(3)]),
        ),
      },
      'illegalParameter',
    ],
    [
      'ServerKeyExchange with explicit curve parameters',
      { tamper: change(HandshakeType.serverKeyExchange, (body) => flipBit(body, 0)) },
      'illegalParameter',
    ],
    ['Finished of garbage', { tamper: change(HandshakeType.finished, () => Buffer.alloc(12, 0x42)) }, 'badFinished'],
    [
      'Finished with one bit changed',
      { tamper: change(HandshakeType.finished, (body) => flipBit(body, 11)) },
      'badFinished',
    ],
  ])('%s', (_what, hostile, reason) => {
    const { end } = against('client', hostile);
    expect(end.events).toEqual(['failed']);
    expect(end.reason).toBe(reason);
    expect(end.keys).toBeUndefined();
  });

  it.each([
    ['ServerHello', HandshakeType.serverHello],
    ['Certificate', HandshakeType.certificate],
    ['ServerKeyExchange', HandshakeType.serverKeyExchange],
    ['CertificateRequest', HandshakeType.certificateRequest],
    ['ServerHelloDone', HandshakeType.serverHelloDone],
  ])('%s left out: nothing behind it counts, and the deadline ends it', (_name, type) => {
    const { end, clock } = against('client', { tamper: (flight) => withoutMessage(flight, type) });
    expect(end.events).toEqual([]);
    clock.advance(30_000);
    expect(end.events).toEqual(['failed']);
  });

  it('an RSA certificate does not serve a suite of ECDSA', () => {
    const rsa = oddCertificate('rsa2048');
    const { end } = against(
      'client',
      { tamper: change(HandshakeType.certificate, () => writeCertificates([rsa.der])) },
      { remoteFingerprints: fingerprintOf(rsa) },
    );
    expect(end.reason).toBe('certificateUnusable');
  });

  it('sends nothing but alerts before the server has proved its key', () => {
    const { peer } = against('client', { certificate: stolen(THEIRS, OTHER) });
    expect(peer.received).toEqual([]);
    expect(peer.alerts).toEqual([[2, 51]]);
  });
});

function resign(body: Buffer, data: Buffer): Buffer {
  const signature = sign('sha256', data, { key: THEIRS.privateKey, dsaEncoding: 'der' });
  const length = Buffer.from([0, signature.length]);
  return Buffer.concat([body.subarray(0, 2), length, signature]);
}

function withScheme(body: Buffer, scheme: number, at = 0): Buffer {
  body.writeUInt16BE(scheme, at);
  return body;
}

function otherX25519(): Buffer {
  const { x = '' } = generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' });
  return Buffer.concat([Buffer.from([32]), Buffer.from(x, 'base64url')]);
}

/** A certificate around any public key. Its signature is wrong, which no check of DTLS-SRTP looks at. */
function oddCertificate(kind: 'ed25519' | 'secp256k1' | 'rsa1024' | 'rsa2048' | 'rsaHugeExponent'): OwnCertificate {
  const key = {
    ed25519: () => generateKeyPairSync('ed25519').publicKey,
    secp256k1: () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey,
    rsa1024: () => generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey,
    rsa2048: () => generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey,
    rsaHugeExponent: () => {
      const { n = '' } = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
      const e = Buffer.alloc(64, 0xff).toString('base64url');
      return createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' });
    },
  }[kind]();
  const spki = key.export({ type: 'spki', format: 'der' });
  // The template's body with another key: [version, serial, algorithm, name, validity, name, key].
  const parts = children(children(THEIRS.der)[0] as Buffer);
  const body = sequence(...parts.slice(0, 6), spki);
  const [, algorithm, signature] = children(THEIRS.der) as [Buffer, Buffer, Buffer];
  return ownCertificate(sequence(body, algorithm, signature), THEIRS.privateKey);
}

/** The elements of a SEQUENCE. */
function children(element: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let at = headerBytes(element);
  while (at < element.length) {
    const rest = element.subarray(at);
    const end = headerBytes(rest) + contentBytes(rest);
    found.push(rest.subarray(0, end));
    at += end;
  }
  return found;
}

function headerBytes(element: Buffer): number {
  const first = element[1] as number;
  return first < 0x80 ? 2 : 2 + (first & 0x7f);
}

function contentBytes(element: Buffer): number {
  const first = element[1] as number;
  return first < 0x80 ? first : element.readUIntBE(2, first & 0x7f);
}

it('the helper that reads DER reads what der.ts writes', () => {
  const number = integer(Buffer.from([1, 2]));
  expect(children(der(0x30, number, sequence(Buffer.alloc(300))))[0]).toEqual(number);
});
