import { ByteReader } from './bytes.ts';
import {
  MAX_BUFFERED_BYTES,
  MAX_CERTIFICATE_MESSAGE_BYTES,
  MAX_CLIENT_HELLO_BYTES,
  MAX_FRAGMENTS_PER_RECORD,
  MAX_FUTURE_MESSAGES,
  MAX_OTHER_MESSAGE_BYTES,
  MAX_RANGES_PER_MESSAGE,
} from './limits.ts';
import { HandshakeType } from './protocol.ts';

/** Handshake messages travel in fragments (RFC 6347 section 4.2.3). */

export const HANDSHAKE_HEADER_BYTES = 12;

export interface Fragment {
  readonly type: number;
  /** Of the whole message. */
  readonly length: number;
  readonly messageSequence: number;
  readonly offset: number;
  readonly bytes: Buffer;
}

/** A whole message. */
export interface HandshakeMessage {
  readonly type: number;
  readonly messageSequence: number;
  readonly body: Buffer;
}

const KNOWN_TYPES = new Set<number>(Object.values(HandshakeType));

function maxBytes(type: number): number {
  if (type === HandshakeType.certificate) return MAX_CERTIFICATE_MESSAGE_BYTES;
  if (type === HandshakeType.clientHello) return MAX_CLIENT_HELLO_BYTES;
  return MAX_OTHER_MESSAGE_BYTES;
}

/** The fragments of one record. Reading ends at the first that lies: about its length, its place or its type. */
export function splitFragments(content: Buffer): { readonly fragments: Fragment[]; readonly refused: number } {
  const fragments: Fragment[] = [];
  const reader = new ByteReader(content);
  while (reader.remaining > 0) {
    if (reader.remaining < HANDSHAKE_HEADER_BYTES || fragments.length >= MAX_FRAGMENTS_PER_RECORD) {
      return { fragments, refused: 1 };
    }
    const type = reader.uint8();
    const length = reader.uint24();
    const messageSequence = reader.uint16();
    const offset = reader.uint24();
    const bytes = reader.uint24();
    const fits = offset + bytes <= length && bytes <= reader.remaining && (bytes > 0 || length === 0);
    if (!KNOWN_TYPES.has(type) || length > maxBytes(type) || !fits) return { fragments, refused: 1 };
    fragments.push({ type, length, messageSequence, offset, bytes: reader.take(bytes) });
  }
  return { fragments, refused: 0 };
}

/** A message's bytes as they come, in any order and more than once. */
class PartialMessage {
  readonly type: number;
  readonly body: Buffer;
  /** Ranges there, sorted, apart from each other: [start, end). */
  #ranges: (readonly [number, number])[] = [];

  constructor(type: number, length: number) {
    this.type = type;
    this.body = Buffer.alloc(length);
  }

  get complete(): boolean {
    const [first] = this.#ranges;
    return this.body.length === 0 || (first?.[0] === 0 && first[1] === this.body.length);
  }

  /** @returns false when the fragment contradicts what is there, or would leave too many gaps */
  add({ offset, bytes }: Fragment): boolean {
    let start = offset;
    let end = offset + bytes.length;
    const apart: (readonly [number, number])[] = [];
    for (const range of this.#ranges) {
      if (range[1] < start || range[0] > end) {
        apart.push(range);
        continue;
      }
      const from = Math.max(range[0], offset);
      const to = Math.min(range[1], offset + bytes.length);
      if (to > from && this.body.compare(bytes, from - offset, to - offset, from, to) !== 0) return false;
      start = Math.min(start, range[0]);
      end = Math.max(end, range[1]);
    }
    if (apart.length >= MAX_RANGES_PER_MESSAGE) return false;
    bytes.copy(this.body, offset);
    this.#ranges = [...apart, [start, end] as const].sort((a, b) => a[0] - b[0]);
    return true;
  }
}

/**
 * Whole messages in their order. Memory: the claimed lengths of at most MAX_FUTURE_MESSAGES messages, MAX_BUFFERED_BYTES
 * in all. Work: a fragment is copied once and compared with at most MAX_RANGES_PER_MESSAGE ranges.
 */
export class Reassembly {
  #next: number;
  #bufferedBytes = 0;
  readonly #partial = new Map<number, PartialMessage>();

  /** @param next message_seq of the first message */
  constructor(next: number) {
    this.#next = next;
  }

  get next(): number {
    return this.#next;
  }

  /** What is buffered now, for tests. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** @returns 'old' for a message that was taken before, 'refused' for one that may not be kept */
  add(fragment: Fragment): 'kept' | 'old' | 'refused' {
    const { messageSequence, type, length } = fragment;
    if (messageSequence < this.#next) return 'old';
    if (messageSequence >= this.#next + MAX_FUTURE_MESSAGES) return 'refused';
    let partial = this.#partial.get(messageSequence);
    if (partial === undefined) {
      if (!this.#makeRoom(messageSequence, length)) return 'refused';
      partial = new PartialMessage(type, length);
      this.#partial.set(messageSequence, partial);
      this.#bufferedBytes += length;
    }
    if (partial.type === type && partial.body.length === length && partial.add(fragment)) return 'kept';
    // One of the two is false and nothing says which: forget both, a retransmission brings the true one whole.
    this.#forget(messageSequence);
    return 'refused';
  }

  /** The next message when all of it is there. It stays until take() or drop(). */
  peek(): HandshakeMessage | undefined {
    const partial = this.#partial.get(this.#next);
    if (partial?.complete !== true) return undefined;
    return { type: partial.type, messageSequence: this.#next, body: partial.body };
  }

  /** The message of peek() was right: the one behind it is next. */
  take(): void {
    this.#forget(this.#next);
    this.#next += 1;
  }

  /** The message of peek() was none: wait for another with its number. */
  drop(): void {
    this.#forget(this.#next);
  }

  /** Earlier messages have the right of way: later ones, perhaps false, must not keep them out. */
  #makeRoom(messageSequence: number, length: number): boolean {
    const later = [...this.#partial.keys()].filter((key) => key > messageSequence).sort((a, b) => b - a);
    for (const key of later) {
      if (this.#bufferedBytes + length <= MAX_BUFFERED_BYTES) break;
      this.#forget(key);
    }
    return this.#bufferedBytes + length <= MAX_BUFFERED_BYTES;
  }

  #forget(messageSequence: number): void {
    this.#bufferedBytes -= this.#partial.get(messageSequence)?.body.length ?? 0;
    this.#partial.delete(messageSequence);
  }
}
