import type { SigningKeyType } from './signatures.ts';

/** Cipher suites with forward secrecy and authenticated encryption, in our order of preference. */

export interface CipherSuite {
  readonly id: number;
  readonly name: string;
  /** Type of the server's certificate. */
  readonly keyType: SigningKeyType;
  readonly cipher: 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';
  readonly keyBytes: 16 | 32;
  /** Bytes of the nonce that come from the key block: 4 with an explicit nonce in the record (RFC 5288), else 12 (RFC 7905). */
  readonly fixedNonceBytes: 4 | 12;
  /** Of the pseudo-random function and of the transcript. */
  readonly hash: 'sha256' | 'sha384';
}

const aes128 = { cipher: 'aes-128-gcm', keyBytes: 16, fixedNonceBytes: 4, hash: 'sha256' } as const;
const aes256 = { cipher: 'aes-256-gcm', keyBytes: 32, fixedNonceBytes: 4, hash: 'sha384' } as const;
const chacha = { cipher: 'chacha20-poly1305', keyBytes: 32, fixedNonceBytes: 12, hash: 'sha256' } as const;

export const SUITES: readonly CipherSuite[] = [
  { id: 0xc02b, name: 'ECDHE_ECDSA_WITH_AES_128_GCM_SHA256', keyType: 'ec', ...aes128 },
  { id: 0xc02c, name: 'ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', keyType: 'ec', ...aes256 },
  { id: 0xcca9, name: 'ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256', keyType: 'ec', ...chacha },
  { id: 0xc02f, name: 'ECDHE_RSA_WITH_AES_128_GCM_SHA256', keyType: 'rsa', ...aes128 },
  { id: 0xc030, name: 'ECDHE_RSA_WITH_AES_256_GCM_SHA384', keyType: 'rsa', ...aes256 },
  { id: 0xcca8, name: 'ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256', keyType: 'rsa', ...chacha },
];

/** Our most preferred suite that the peer offers and that a certificate of this type can serve. */
export function chooseSuite(offered: readonly number[], keyType: SigningKeyType): CipherSuite | undefined {
  return SUITES.find(({ id, keyType: needed }) => needed === keyType && offered.includes(id));
}
