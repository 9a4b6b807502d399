import { createHash, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { bitString, der, integer, objectId, sequence, set, time, utf8String } from './der.ts';

/** What we prove who we are with: a certificate and the key of it. */
export interface OwnCertificate {
  readonly der: Buffer;
  readonly privateKey: KeyObject;
  /** `AB:CD:...` as an SDP carries it (RFC 8122 section 5). */
  readonly sha256Fingerprint: string;
}

const ECDSA_WITH_SHA256 = sequence(objectId('1.2.840.10045.4.3.2'));
const COMMON_NAME = objectId('2.5.4.3');
const DAY_MS = 86_400_000;

/** A self-signed X.509 v3 certificate (RFC 5280) of a new P-256 key, valid from yesterday, for clocks that differ. */
export function createOwnCertificate(validDays: number, now = new Date()): OwnCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  // One name for all: nothing about this machine belongs into a certificate that every peer sees.
  const name = sequence(set(sequence(COMMON_NAME, utf8String('WebRTC'))));
  const validity = sequence(time(new Date(now.getTime() - DAY_MS)), time(new Date(now.getTime() + validDays * DAY_MS)));
  const version3 = der(0xa0, integer(Buffer.from([2])));
  const body = sequence(
    version3,
    integer(positive(randomBytes(16))),
    ECDSA_WITH_SHA256,
    name,
    validity,
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = sign('sha256', body, { key: privateKey, dsaEncoding: 'der' });
  return ownCertificate(sequence(body, ECDSA_WITH_SHA256, bitString(signature)), privateKey);
}

export function ownCertificate(certificate: Buffer, privateKey: KeyObject): OwnCertificate {
  const digest = createHash('sha256').update(certificate).digest('hex').toUpperCase();
  return { der: certificate, privateKey, sha256Fingerprint: digest.replace(/(..)(?!$)/g, '$1:') };
}

/** A serial number is positive, and not zero (RFC 5280 section 4.1.2.2). */
function positive(bytes: Buffer): Buffer {
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40;
  return bytes;
}
