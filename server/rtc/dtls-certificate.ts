import { createHash } from 'node:crypto';
import { CipherContext, HashAlgorithm, NamedCurveAlgorithm, RTCCertificate, SignatureAlgorithm } from 'werift';

let certificatePromise: Promise<RTCCertificate> | undefined;

/** One self-signed P-256 certificate per process: making one costs milliseconds, and peers check only its fingerprint. */
export function certificate(): Promise<RTCCertificate> {
  certificatePromise ??= CipherContext.createSelfSignedCertificateWithKey(
    { signature: SignatureAlgorithm.ecdsa_3, hash: HashAlgorithm.sha256_4 },
    NamedCurveAlgorithm.secp256r1_23,
  ).then(({ certPem, keyPem, signatureHash }) => new RTCCertificate(keyPem, certPem, signatureHash));
  return certificatePromise;
}

/** RFC 8122 section 5: one of the fingerprints of the peer's description is its certificate's. */
export function fingerprintMatches(
  remoteCertificate: Buffer | undefined,
  expected: readonly { readonly algorithm: string; readonly value: string }[],
): boolean {
  if (remoteCertificate === undefined) return false;
  return expected.some(({ algorithm, value }) => {
    const name = algorithm.replace('-', '').toLowerCase();
    if (!['sha256', 'sha384', 'sha512'].includes(name)) return false;
    const digest = createHash(name).update(remoteCertificate).digest('hex');
    return digest === value.replaceAll(':', '').toLowerCase();
  });
}
