import { constants, sign, verify, type KeyObject } from 'node:crypto';
import { MAX_RSA_BITS, MIN_RSA_BITS } from './limits.ts';

/** Signature schemes (RFC 8446 section 4.2.3, as TLS 1.2 uses them). SHA-1 and MD5 are not among them. */

export type SigningKeyType = 'ec' | 'rsa';

interface SignatureScheme {
  readonly id: number;
  readonly keyType: SigningKeyType;
  readonly hash: 'sha256' | 'sha384' | 'sha512';
  readonly pss: boolean;
}

const scheme = (id: number, keyType: SigningKeyType, hash: SignatureScheme['hash'], pss = false): SignatureScheme => ({
  id,
  keyType,
  hash,
  pss,
});

const SCHEMES: readonly SignatureScheme[] = [
  scheme(0x0403, 'ec', 'sha256'),
  scheme(0x0804, 'rsa', 'sha256', true),
  scheme(0x0401, 'rsa', 'sha256'),
  scheme(0x0503, 'ec', 'sha384'),
  scheme(0x0805, 'rsa', 'sha384', true),
  scheme(0x0501, 'rsa', 'sha384'),
  scheme(0x0603, 'ec', 'sha512'),
  scheme(0x0806, 'rsa', 'sha512', true),
  scheme(0x0601, 'rsa', 'sha512'),
];

export const SIGNATURE_SCHEMES: readonly number[] = SCHEMES.map(({ id }) => id);

const CURVES = ['prime256v1', 'secp384r1', 'secp521r1'];

/** What this key signs as; undefined for keys that no scheme of ours uses, or that are too small or too costly to verify. */
export function signingKeyType(key: KeyObject): SigningKeyType | undefined {
  const { namedCurve, modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ec') return CURVES.includes(namedCurve ?? '') ? 'ec' : undefined;
  if (key.asymmetricKeyType !== 'rsa') return undefined;
  // OpenSSL takes exponents as long as the modulus: verifying would cost as much as signing.
  const cheap = publicExponent > 2n && publicExponent < 2n ** 33n;
  return cheap && modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_RSA_BITS ? 'rsa' : undefined;
}

/** Our most preferred scheme that the peer accepts and that a key of this type can make. */
export function chooseScheme(accepted: readonly number[], keyType: SigningKeyType): number | undefined {
  return SCHEMES.find(({ id, keyType: needed }) => needed === keyType && accepted.includes(id))?.id;
}

export function signWith(schemeId: number, key: KeyObject, data: Buffer): Buffer {
  const chosen = SCHEMES.find(({ id }) => id === schemeId);
  if (chosen === undefined) throw new Error(`signature scheme ${schemeId} is not one of ours`);
  return sign(chosen.hash, data, keyInput(chosen, key));
}

/** False for a scheme that is not ours, one that does not fit the key, and a wrong signature. */
export function verifyWith(schemeId: number, key: KeyObject, data: Buffer, signature: Buffer): boolean {
  const chosen = SCHEMES.find(({ id }) => id === schemeId);
  if (chosen === undefined || chosen.keyType !== signingKeyType(key)) return false;
  try {
    return verify(chosen.hash, data, keyInput(chosen, key), signature);
  } catch {
    return false;
  }
}

function keyInput({ keyType, pss }: SignatureScheme, key: KeyObject) {
  if (keyType === 'ec') return { key, dsaEncoding: 'der' as const };
  if (!pss) return { key, padding: constants.RSA_PKCS1_PADDING };
  return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
}
