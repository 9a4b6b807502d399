import { createECDH, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { DtlsFailure } from './failure.ts';

/** Ephemeral Diffie-Hellman over X25519 (RFC 7748), P-256 and P-384 (RFC 8422). */

export interface KeyShare {
  readonly group: number;
  /** As it travels: 32 bytes, or an uncompressed point. */
  readonly publicKey: Buffer;
  /** @throws DtlsFailure when the peer's share is not a valid point, or gives no secret */
  agree(peerPublicKey: Buffer): Buffer;
}

const X25519 = 29;
const CURVES: Readonly<Record<number, { readonly name: string; readonly pointBytes: number }>> = {
  23: { name: 'prime256v1', pointBytes: 65 },
  24: { name: 'secp384r1', pointBytes: 97 },
};
/** In our order of preference. */
export const GROUPS: readonly number[] = [X25519, 23, 24];

export function chooseGroup(offered: readonly number[]): number | undefined {
  return GROUPS.find((group) => offered.includes(group));
}

/** @param group one of GROUPS */
export function createKeyShare(group: number): KeyShare {
  return group === X25519 ? x25519Share() : curveShare(group);
}

function invalid(): DtlsFailure {
  return new DtlsFailure(
    'illegal_parameter',
    'badKeyShare',
    'The public key of the key exchange is not a valid point.',
  );
}

function x25519Share(): KeyShare {
  const pair = generateKeyPairSync('x25519');
  const own = pair.publicKey.export({ format: 'jwk' }).x ?? '';
  return {
    group: X25519,
    publicKey: Buffer.from(own, 'base64url'),
    agree: (peer) => {
      if (peer.length !== 32) throw invalid();
      let secret: Buffer;
      try {
        const publicKey: KeyObject = createPublicKey({
          key: { kty: 'OKP', crv: 'X25519', x: peer.toString('base64url') },
          format: 'jwk',
        });
        secret = diffieHellman({ privateKey: pair.privateKey, publicKey });
      } catch {
        throw invalid();
      }
      // A point of small order makes the secret public (RFC 7748 section 6.1).
      if (secret.every((byte) => byte === 0)) throw invalid();
      return secret;
    },
  };
}

function curveShare(group: number): KeyShare {
  const curve = CURVES[group];
  if (curve === undefined) throw new Error(`group ${group} is not one of ours`);
  const ecdh = createECDH(curve.name);
  const publicKey = ecdh.generateKeys();
  return {
    group,
    publicKey,
    agree: (peer) => {
      if (peer.length !== curve.pointBytes || peer[0] !== 4) throw invalid();
      try {
        return ecdh.computeSecret(peer); // checks that the point lies on the curve
      } catch {
        throw invalid();
      }
    },
  };
}
