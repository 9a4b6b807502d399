import { createCipheriv, createDecipheriv } from 'node:crypto';
import { VERSION_1_2 } from './protocol.ts';
import type { CipherSuite } from './suites.ts';

const TAG_BYTES = 16;
const EXPLICIT_NONCE_BYTES = 8;
/** type, version, epoch, sequence number, length */
export const RECORD_HEADER_BYTES = 13;

/** Authenticated encryption of one direction (RFC 5246 section 6.2.3.3; RFC 5288, RFC 7905). */
export class RecordProtection {
  readonly #suite: CipherSuite;
  readonly #key: Buffer;
  readonly #fixedNonce: Buffer;

  constructor(suite: CipherSuite, key: Buffer, fixedNonce: Buffer) {
    this.#suite = suite;
    this.#key = key;
    this.#fixedNonce = fixedNonce;
  }

  /** Bytes that seal() adds. */
  get overheadBytes(): number {
    return TAG_BYTES + this.#explicitBytes;
  }

  get #explicitBytes(): number {
    return this.#suite.fixedNonceBytes === 4 ? EXPLICIT_NONCE_BYTES : 0;
  }

  /** @param sequence epoch and sequence number, 8 bytes */
  seal(type: number, sequence: Buffer, plain: Buffer): Buffer {
    const cipher = this.#cipher(sequence);
    cipher.setAAD(additionalData(type, sequence, plain.length), { plaintextLength: plain.length });
    const body = cipher.update(plain);
    cipher.final();
    const explicit = this.#explicitBytes > 0 ? [sequence] : [];
    return Buffer.concat([...explicit, body, cipher.getAuthTag()]);
  }

  /** @returns undefined when the record is not authentic */
  open(type: number, sequence: Buffer, fragment: Buffer): Buffer | undefined {
    const bodyAt = this.#explicitBytes;
    const tagAt = fragment.length - TAG_BYTES;
    if (tagAt < bodyAt) return undefined;
    const decipher = this.#decipher(bodyAt > 0 ? fragment.subarray(0, bodyAt) : sequence);
    const plaintextLength = tagAt - bodyAt;
    decipher.setAAD(additionalData(type, sequence, plaintextLength), { plaintextLength });
    decipher.setAuthTag(fragment.subarray(tagAt));
    const plain = decipher.update(fragment.subarray(bodyAt, tagAt));
    try {
      decipher.final();
      return plain;
    } catch {
      return undefined;
    }
  }

  #cipher(sequence: Buffer) {
    const { cipher } = this.#suite;
    const options = { authTagLength: TAG_BYTES };
    return cipher === 'chacha20-poly1305'
      ? createCipheriv(cipher, this.#key, this.#nonce(sequence), options)
      : createCipheriv(cipher, this.#key, this.#nonce(sequence), options);
  }

  #decipher(sequence: Buffer) {
    const { cipher } = this.#suite;
    const options = { authTagLength: TAG_BYTES };
    return cipher === 'chacha20-poly1305'
      ? createDecipheriv(cipher, this.#key, this.#nonce(sequence), options)
      : createDecipheriv(cipher, this.#key, this.#nonce(sequence), options);
  }

  #nonce(sequence: Buffer): Buffer {
    if (this.#explicitBytes > 0) return Buffer.concat([this.#fixedNonce, sequence]);
    const nonce = Buffer.from(this.#fixedNonce);
    for (let index = 0; index < 8; index++)
      nonce[4 + index] = (nonce[4 + index] as number) ^ (sequence[index] as number);
    return nonce;
  }
}

function additionalData(type: number, sequence: Buffer, plainBytes: number): Buffer {
  const data = Buffer.alloc(RECORD_HEADER_BYTES);
  sequence.copy(data);
  data[8] = type;
  data.writeUInt16BE(VERSION_1_2, 9);
  data.writeUInt16BE(plainBytes, 11);
  return data;
}
