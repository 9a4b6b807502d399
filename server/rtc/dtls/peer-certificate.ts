import { createHash, X509Certificate, type KeyObject } from 'node:crypto';
import { AppError } from '../../errors.ts';
import { DtlsFailure } from './failure.ts';
import { signingKeyType, type SigningKeyType } from './signatures.ts';

/** Who the peer is: the holder of the key in a certificate that its description names by fingerprint (RFC 8122). */

export interface Fingerprint {
  /** `sha-256`, `sha-384`, `sha-512`; others do not count. */
  readonly algorithm: string;
  /** Hexadecimal, with or without colons. */
  readonly value: string;
}

export interface PeerCertificate {
  readonly publicKey: KeyObject;
  readonly keyType: SigningKeyType;
}

const STRONG: Readonly<Record<string, { readonly hash: string; readonly digits: number }>> = {
  'sha-256': { hash: 'sha256', digits: 64 },
  'sha-384': { hash: 'sha384', digits: 96 },
  'sha-512': { hash: 'sha512', digits: 128 },
};

/** Digests that the certificate may have, by hash function. */
export type ExpectedDigests = ReadonlyMap<string, ReadonlySet<string>>;

/** @throws AppError sdp.invalid when no fingerprint is strong and well formed: MD5 and SHA-1 prove no identity */
export function expectedDigests(fingerprints: readonly Fingerprint[]): ExpectedDigests {
  const expected = new Map<string, Set<string>>();
  for (const { algorithm, value } of fingerprints) {
    const strong = STRONG[algorithm.toLowerCase()];
    if (strong === undefined) continue;
    const digest = value.replaceAll(':', '').toLowerCase();
    if (digest.length !== strong.digits || !/^[0-9a-f]+$/.test(digest)) continue;
    expected.set(strong.hash, (expected.get(strong.hash) ?? new Set()).add(digest));
  }
  if (expected.size > 0) return expected;
  throw new AppError('sdp.invalid', 'The description has no usable a=fingerprint of SHA-256, SHA-384 or SHA-512.', {
    context: { algorithms: fingerprints.slice(0, 8).map(({ algorithm }) => algorithm.slice(0, 16)) },
  });
}

/** RFC 8122 section 5: every hash function that the description uses names each certificate, so all of them must match. */
function fingerprintsMatch(certificate: Buffer, expected: ExpectedDigests): boolean {
  return [...expected].every(([hash, digests]) => digests.has(createHash(hash).update(certificate).digest('hex')));
}

/**
 * The peer's certificate, checked against its description before anything of it is parsed. Names, validity and signature
 * of the certificate prove nothing here (RFC 8827 section 5.6.4): the fingerprint does.
 * @param chain of a Certificate message @throws DtlsFailure
 */
export function readPeerCertificate(chain: readonly Buffer[], expected: ExpectedDigests): PeerCertificate {
  const [certificate] = chain;
  if (certificate === undefined) {
    throw new DtlsFailure('handshake_failure', 'certificateMissing', 'The peer sent no certificate.');
  }
  if (!fingerprintsMatch(certificate, expected)) {
    throw new DtlsFailure(
      'bad_certificate',
      'fingerprintMismatch',
      'The certificate of the peer is not the one whose fingerprint its description names.',
    );
  }
  const publicKey = readPublicKey(certificate);
  const keyType = publicKey === undefined ? undefined : signingKeyType(publicKey);
  if (publicKey === undefined || keyType === undefined) {
    throw new DtlsFailure(
      'unsupported_certificate',
      'certificateUnusable',
      'The certificate of the peer holds no key of ECDSA (P-256, P-384, P-521) or RSA (2048 to 8192 bits).',
    );
  }
  return { publicKey, keyType };
}

function readPublicKey(certificate: Buffer): KeyObject | undefined {
  // Node reads PEM, too; a certificate on the wire is DER.
  if (certificate[0] !== 0x30) return undefined;
  try {
    return new X509Certificate(certificate).publicKey;
  } catch {
    return undefined;
  }
}
