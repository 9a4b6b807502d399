import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { VERIFY_DATA_BYTES } from './protocol.ts';
import { RecordProtection } from './record-protection.ts';
import type { CipherSuite } from './suites.ts';

/** Secrets of one handshake. */

type Hash = CipherSuite['hash'];

/** RFC 5246 section 5: P_hash over label and seed. */
export function pseudoRandom(hash: Hash, secret: Buffer, label: string, seed: Buffer, bytes: number): Buffer {
  const labelled = Buffer.concat([Buffer.from(label, 'ascii'), seed]);
  const out: Buffer[] = [];
  let length = 0;
  let a: Buffer = labelled;
  while (length < bytes) {
    a = createHmac(hash, secret).update(a).digest();
    const block = createHmac(hash, secret).update(a).update(labelled).digest();
    out.push(block);
    length += block.length;
  }
  return Buffer.concat(out, bytes);
}

export class KeySchedule {
  readonly #suite: CipherSuite;
  readonly #master: Buffer;
  readonly #clientRandom: Buffer;
  readonly #serverRandom: Buffer;

  /**
   * @param transcript all handshake messages up to and including ClientKeyExchange: extended_master_secret binds the secret
   *   to them (RFC 7627 section 4)
   */
  constructor(
    suite: CipherSuite,
    premaster: Buffer,
    transcript: Buffer,
    randoms: { readonly client: Buffer; readonly server: Buffer },
  ) {
    this.#suite = suite;
    this.#clientRandom = randoms.client;
    this.#serverRandom = randoms.server;
    const sessionHash = createHash(suite.hash).update(transcript).digest();
    this.#master = pseudoRandom(suite.hash, premaster, 'extended master secret', sessionHash, 48);
  }

  /** RFC 5246 section 6.3, without MAC keys. */
  protections(): { readonly client: RecordProtection; readonly server: RecordProtection } {
    const { keyBytes, fixedNonceBytes } = this.#suite;
    const seed = Buffer.concat([this.#serverRandom, this.#clientRandom]);
    const block = pseudoRandom(this.#suite.hash, this.#master, 'key expansion', seed, 2 * (keyBytes + fixedNonceBytes));
    const nonces = block.subarray(2 * keyBytes);
    return {
      client: new RecordProtection(this.#suite, block.subarray(0, keyBytes), nonces.subarray(0, fixedNonceBytes)),
      server: new RecordProtection(
        this.#suite,
        block.subarray(keyBytes, 2 * keyBytes),
        nonces.subarray(fixedNonceBytes),
      ),
    };
  }

  /** verify_data of a Finished message (RFC 5246 section 7.4.9). */
  verifyData(sender: 'client' | 'server', transcript: Buffer): Buffer {
    const hash = createHash(this.#suite.hash).update(transcript).digest();
    return pseudoRandom(this.#suite.hash, this.#master, `${sender} finished`, hash, VERIFY_DATA_BYTES);
  }

  /** RFC 5705 section 4, without context. */
  export(label: string, bytes: number): Buffer {
    const seed = Buffer.concat([this.#clientRandom, this.#serverRandom]);
    return pseudoRandom(this.#suite.hash, this.#master, label, seed, bytes);
  }
}

/** Compares in time that depends on the lengths alone. */
export function equalSecrets(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
