import {
  MAX_EARLY_RECORD_BYTES,
  MAX_EARLY_RECORDS,
  MAX_RECORD_BYTES,
  MAX_RECORD_PLAINTEXT_BYTES,
  MAX_RECORDS_PER_DATAGRAM,
} from './limits.ts';
import { ContentType, VERSION_1_0, VERSION_1_2 } from './protocol.ts';
import { RECORD_HEADER_BYTES, type RecordProtection } from './record-protection.ts';
import { ReplayWindow } from './replay-window.ts';

/** The record layer (RFC 6347 section 4.1): two epochs, clear text and protected. */

interface DtlsRecord {
  readonly type: number;
  readonly epoch: number;
  readonly sequence: number;
  /** Epoch and sequence number as they stand in the header. */
  readonly sequenceBytes: Buffer;
  readonly fragment: Buffer;
}

/** A record whose content may be used: clear text of epoch 0, or authentic. */
export interface OpenRecord {
  readonly type: number;
  readonly authentic: boolean;
  readonly content: Buffer;
}

/**
 * The records of one datagram, each read once; reading ends at the first that is not whole, and at
 * MAX_RECORDS_PER_DATAGRAM.
 */
export function splitDatagram(datagram: Buffer): { readonly records: DtlsRecord[]; readonly refused: number } {
  const records: DtlsRecord[] = [];
  let at = 0;
  while (at < datagram.length) {
    const end = at + RECORD_HEADER_BYTES;
    if (end > datagram.length || records.length >= MAX_RECORDS_PER_DATAGRAM) return { records, refused: 1 };
    const length = datagram.readUInt16BE(at + 11);
    const type = datagram[at] as number;
    const version = datagram.readUInt16BE(at + 1);
    const epoch = datagram.readUInt16BE(at + 3);
    const known = type >= ContentType.changeCipherSpec && type <= ContentType.applicationData;
    // A first ClientHello, and what answers it, may carry the version of DTLS 1.0 (RFC 6347 section 4.1).
    const spoken = version === VERSION_1_2 || (epoch === 0 && version === VERSION_1_0);
    if (!known || !spoken || length > MAX_RECORD_BYTES || end + length > datagram.length)
      return { records, refused: 1 };
    records.push({
      type,
      epoch,
      sequence: datagram.readUIntBE(at + 5, 6),
      sequenceBytes: datagram.subarray(at + 3, at + 11),
      fragment: datagram.subarray(end, end + length),
    });
    at = end + length;
  }
  return { records, refused: 0 };
}

/** Decides which records count: epoch 0 until the peer's ChangeCipherSpec, then authentic ones of epoch 1 alone. */
export class RecordReader {
  #protection: RecordProtection | undefined;
  #epoch: 0 | 1 = 0;
  readonly #window = new ReplayWindow();
  #early: DtlsRecord[] = [];

  get epoch(): 0 | 1 {
    return this.#epoch;
  }

  /** @returns undefined when the record does not count: other epoch, replayed, not authentic, too long */
  open(record: DtlsRecord): OpenRecord | undefined {
    if (record.epoch !== this.#epoch) {
      if (record.epoch === 1) this.#keep(record);
      return undefined;
    }
    if (this.#epoch === 0) {
      if (record.fragment.length > MAX_RECORD_PLAINTEXT_BYTES) return undefined;
      return { type: record.type, authentic: false, content: record.fragment };
    }
    if (this.#protection === undefined || this.#window.isReplay(record.sequence)) return undefined;
    const content = this.#protection.open(record.type, record.sequenceBytes, record.fragment);
    if (content === undefined || content.length > MAX_RECORD_PLAINTEXT_BYTES) return undefined;
    this.#window.accept(record.sequence);
    return { type: record.type, authentic: true, content };
  }

  /** The peer's ChangeCipherSpec came at its place. @returns records of the new epoch that overtook it */
  changeCipherSpec(protection: RecordProtection): readonly DtlsRecord[] {
    this.#protection = protection;
    this.#epoch = 1;
    const early = this.#early;
    this.#early = [];
    return early;
  }

  /** Finished may overtake the ChangeCipherSpec in front of it; without a place here only a timer would bring it again. */
  #keep(record: DtlsRecord): void {
    if (record.fragment.length > MAX_EARLY_RECORD_BYTES) return;
    if (this.#early.length >= MAX_EARLY_RECORDS) this.#early.shift();
    // A copy: the datagram's memory must not be held.
    this.#early.push({
      ...record,
      fragment: Buffer.from(record.fragment),
      sequenceBytes: Buffer.from(record.sequenceBytes),
    });
  }

  /** A handshake begins from the start. */
  reset(): void {
    this.#early = [];
  }
}

/** Numbers and protects our records. A retransmitted message goes out under a new sequence number. */
export class RecordWriter {
  readonly #next: [number, number] = [0, 0];
  #protection: RecordProtection | undefined;

  /** True when records of epoch 1 can be written. */
  get secure(): boolean {
    return this.#protection !== undefined;
  }

  /** Keys of the records behind our ChangeCipherSpec. */
  protect(protection: RecordProtection | undefined): void {
    this.#protection = protection;
    if (protection !== undefined) this.#next[1] = 0;
  }

  overheadBytes(epoch: 0 | 1): number {
    return RECORD_HEADER_BYTES + (epoch === 1 ? (this.#protection?.overheadBytes ?? 0) : 0);
  }

  write(type: number, epoch: 0 | 1, content: Buffer, version: number = VERSION_1_2): Buffer {
    const header = Buffer.alloc(RECORD_HEADER_BYTES);
    header[0] = type;
    header.writeUInt16BE(version, 1);
    header.writeUInt16BE(epoch, 3);
    header.writeUIntBE(this.#next[epoch]++, 5, 6);
    let body = content;
    if (epoch === 1) {
      if (this.#protection === undefined) throw new Error('a record of epoch 1 before its keys');
      body = this.#protection.seal(type, header.subarray(3, 11), content);
    }
    header.writeUInt16BE(body.length, 11);
    return Buffer.concat([header, body]);
  }
}
