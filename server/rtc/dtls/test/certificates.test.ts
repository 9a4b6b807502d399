import { createHash, X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { objectId, time } from '../der.ts';
import { createOwnCertificate } from '../own-certificate.ts';
import { expectedDigests, readPeerCertificate, type Fingerprint } from '../peer-certificate.ts';
import { pseudoRandom } from '../key-schedule.ts';

describe('our certificate', () => {
  it('is self-signed, of P-256, X.509 v3, and valid from yesterday', () => {
    const own = createOwnCertificate(30, new Date('2026-11-30T12:34:56Z'));
    const read = new X509Certificate(own.der);
    expect(read.raw).toEqual(own.der);
    expect(read.verify(read.publicKey)).toBe(true);
    expect(read.checkPrivateKey(own.privateKey)).toBe(true);
    expect(read.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(read.subject).toBe('CN=WebRTC');
    expect(read.issuer).toBe('CN=WebRTC');
    expect(read.validFrom).toBe('Nov 29 12:34:56 2026 GMT');
    expect(read.validTo).toBe('Dec 30 12:34:56 2026 GMT');
    expect(read.fingerprint256).toBe(own.sha256Fingerprint);
    expect(createOwnCertificate(30).der).not.toEqual(own.der);
  });

  it('writes times and object identifiers of every size', () => {
    expect(time(new Date('2049-12-31T23:59:59Z')).toString('latin1', 2)).toBe('491231235959Z');
    expect(time(new Date('2050-01-01T00:00:00Z')).toString('latin1', 2)).toBe('20500101000000Z');
    expect(objectId('1.2.840.10045.4.3.2').toString('hex')).toBe('06082a8648ce3d040302');
  });
});

describe('fingerprints', () => {
  const { der } = createOwnCertificate(30);
  const digest = (hash: string, of = der) => createHash(hash).update(of).digest('hex');
  const wrong = (hash: string) => digest(hash, Buffer.from('other'));
  const colons = (hex: string) => hex.toUpperCase().replace(/(..)(?!$)/g, '$1:');
  const accepts = (...fingerprints: Fingerprint[]) => {
    const expected = expectedDigests(fingerprints);
    try {
      readPeerCertificate([der], expected);
      return true;
    } catch {
      return false;
    }
  };

  it.each<readonly [string, boolean, readonly Fingerprint[]]>([
    ['SHA-256', true, [{ algorithm: 'sha-256', value: colons(digest('sha256')) }]],
    ['in other letters', true, [{ algorithm: 'SHA-256', value: digest('sha256') }]],
    ['SHA-384', true, [{ algorithm: 'sha-384', value: colons(digest('sha384')) }]],
    ['SHA-512', true, [{ algorithm: 'sha-512', value: colons(digest('sha512')) }]],
    ['another', false, [{ algorithm: 'sha-256', value: wrong('sha256') }]],
    [
      'one of two certificates',
      true,
      [
        { algorithm: 'sha-256', value: wrong('sha256') },
        { algorithm: 'sha-256', value: digest('sha256') },
      ],
    ],
    [
      'SHA-256 right, SHA-512 wrong',
      false,
      [
        { algorithm: 'sha-256', value: digest('sha256') },
        { algorithm: 'sha-512', value: wrong('sha512') },
      ],
    ],
    [
      'SHA-1 wrong beside SHA-256 right: SHA-1 does not count',
      true,
      [
        { algorithm: 'sha-1', value: wrong('sha1') },
        { algorithm: 'sha-256', value: digest('sha256') },
      ],
    ],
    [
      'SHA-1 right beside SHA-256 wrong',
      false,
      [
        { algorithm: 'sha-1', value: digest('sha1') },
        { algorithm: 'sha-256', value: wrong('sha256') },
      ],
    ],
  ])('%s: %s', (_what, expected, fingerprints) => {
    expect(accepts(...fingerprints)).toBe(expected);
  });

  it.each<readonly [string, readonly Fingerprint[]]>([
    ['none', []],
    ['SHA-1 alone', [{ algorithm: 'sha-1', value: digest('sha1') }]],
    ['MD5 alone', [{ algorithm: 'md5', value: digest('md5') }]],
    ['SHA-224 alone', [{ algorithm: 'sha-224', value: digest('sha224') }]],
    ['SHA-256 cut short', [{ algorithm: 'sha-256', value: digest('sha256').slice(2) }]],
    ['SHA-256 of no digits', [{ algorithm: 'sha-256', value: 'zz'.repeat(32) }]],
    ['an empty value', [{ algorithm: 'sha-256', value: '' }]],
    ['a name of the prototype', [{ algorithm: '__proto__', value: digest('sha256') }]],
  ])('%s cannot authenticate anybody and is refused at once', (_what, fingerprints) => {
    expect(() => expectedDigests(fingerprints)).toThrow(expect.objectContaining({ code: 'sdp.invalid' }) as Error);
  });
});

it('the pseudo-random function gives the published vector of P_SHA256', () => {
  // https://mailarchive.ietf.org/arch/msg/tls/fzVCzk-z3FShgGJ6DOXqM1ydxms/
  const secret = Buffer.from('9bbe436ba940f017b17652849a71db35', 'hex');
  const seed = Buffer.from('a0ba9f936cda311827a6f796ffd5198c', 'hex');
  expect(pseudoRandom('sha256', secret, 'test label', seed, 100).toString('hex')).toBe(
    'e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17ab' +
      'fd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66',
  );
});
