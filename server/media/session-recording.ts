import { createHash, type Hash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../errors.ts';
import type { AccessUnit, MediaTime, MonotonicUs } from './types.ts';

/**
 * What one publisher's transport delivered, in the order and at the times it did, so that the same packets can be sent through the
 * server again (`npm run cli -- replay FILE`). Packets are stored decrypted: a recording holds the publisher's picture and sound.
 *
 * File: the line `flashvsr-session 1`, a line of JSON (`RecordingHeader`), then records, little-endian:
 *
 *     type u8 | arrival time in us f64 | length u32 | data
 *
 * Types: 1 RTP packet, 2 RTCP packet, 3 tick of the stack's timer (round trip in us f64, NaN while unknown), 4 the access unit that
 * followed (its digest), 5 an offer of the session (SDP). A file that ends inside a record was cut; the records before it count.
 */
const MAGIC = 'flashvsr-session 1';
const RECORDING_REMEDY = 'Give a recording of a session, as debug.recordFolder keeps them.';
const RECORD_HEADER_BYTES = 13;
/** More than any datagram and any access unit's digest: larger means a damaged file. */
const MAX_RECORD_BYTES = 1 << 17;

const TYPES = { rtp: 1, rtcp: 2, tick: 3, unit: 4, offer: 5 } as const;
type RecordType = keyof typeof TYPES;
const NAMES = new Map<number, RecordType>(Object.entries(TYPES).map(([name, type]) => [type, name as RecordType]));

export interface RecordingHeader {
  /** Product version that recorded. */
  readonly version: string;
  readonly startedAt: string;
  /** How long the jitter buffer waited for a missing packet. */
  readonly jitterMs: number;
}

export interface SessionRecord {
  readonly type: RecordType;
  readonly atUs: MonotonicUs;
  readonly data: Buffer;
}

/**
 * Digests of what a decoder would get: codec, keyframe flag, bytes, and media time from the session's first unit on (a publisher that
 * comes back goes on with its broadcast's time line, which a recording of one session does not hold).
 */
export class UnitDigests {
  #firstTime: MediaTime | undefined;

  /** @returns 32 bytes */
  of(unit: Pick<AccessUnit, 'codec' | 'keyframe' | 'mediaTime' | 'data'>): Buffer {
    this.#firstTime ??= unit.mediaTime;
    return createHash('sha256')
      .update(`${unit.codec} ${unit.keyframe ? 'key' : 'delta'} ${unit.mediaTime - this.#firstTime}\n`)
      .update(unit.data)
      .digest();
  }
}

/**
 * Writes a recording. Synchronous: a record is a few hundred bytes to the page cache, and a debugging tool must not reorder. Stops by
 * itself at `maxBytes`, or when the disk refuses; the session goes on.
 */
export class SessionRecorder {
  readonly path: string;
  readonly #maxBytes: number;
  readonly #onStopped: (reason: string) => void;
  #file: number | undefined;
  readonly #tick = Buffer.alloc(8);
  #bytes = 0;

  /** @throws AppError file.unwritable when the file cannot be made */
  constructor(
    file: string,
    header: RecordingHeader,
    options: { maxBytes: number; onStopped: (reason: string) => void },
  ) {
    this.path = file;
    this.#maxBytes = options.maxBytes;
    this.#onStopped = options.onStopped;
    try {
      this.#file = openSync(file, 'wx', 0o600);
    } catch (cause) {
      throw new AppError('file.unwritable', `The recording ${file} cannot be written: ${(cause as Error).message}`, {
        cause,
      });
    }
    this.#write(Buffer.from(`${MAGIC}\n${JSON.stringify(header)}\n`));
  }

  get recording(): boolean {
    return this.#file !== undefined;
  }

  write(type: RecordType, atUs: MonotonicUs, data: Uint8Array = new Uint8Array(0)): void {
    if (this.#file === undefined) return;
    const record = Buffer.alloc(RECORD_HEADER_BYTES + data.length);
    record.writeUInt8(TYPES[type], 0);
    record.writeDoubleLE(atUs, 1);
    record.writeUInt32LE(data.length, 9);
    record.set(data, RECORD_HEADER_BYTES);
    if (this.#bytes + record.length > this.#maxBytes) {
      this.#stop(`The recording reached ${this.#maxBytes} bytes.`);
      return;
    }
    this.#write(record);
  }

  /** @param roundTripUs as the transport knows it: it decides how long a missing packet is waited for */
  writeTick(atUs: MonotonicUs, roundTripUs: number | undefined): void {
    this.#tick.writeDoubleLE(roundTripUs ?? Number.NaN);
    this.write('tick', atUs, this.#tick);
  }

  close(): void {
    if (this.#file === undefined) return;
    closeSync(this.#file);
    this.#file = undefined;
  }

  #write(data: Buffer): void {
    if (this.#file === undefined) return;
    try {
      for (let at = 0; at < data.length;) at += writeSync(this.#file, data, at);
      this.#bytes += data.length;
    } catch (error) {
      this.#stop((error as Error).message);
    }
  }

  #stop(reason: string): void {
    this.close();
    this.#onStopped(reason);
  }
}

/**
 * A recorder for every publisher, each with its own file in `folder`.
 * @throws AppError file.unwritable at once when the folder cannot be made
 */
export function sessionRecorders(
  folder: string,
  header: Omit<RecordingHeader, 'startedAt'>,
  options: { readonly maxBytes: number; readonly onStopped: (path: string, reason: string) => void },
): () => SessionRecorder {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const message = `The folder ${folder} for recordings cannot be made: ${(cause as Error).message}`;
    throw new AppError('file.unwritable', message, { cause });
  }
  let count = 0;
  return () => {
    const startedAt = new Date().toISOString();
    const file = path.join(folder, `${startedAt.replaceAll(':', '')}-${process.pid}-${(count += 1)}.session`);
    const onStopped = (reason: string) => options.onStopped(file, reason);
    return new SessionRecorder(file, { ...header, startedAt }, { maxBytes: options.maxBytes, onStopped });
  };
}

/** @throws AppError file.unreadable when the file is none or is damaged */
export function readRecording(file: string): {
  readonly header: RecordingHeader;
  readonly records: Generator<SessionRecord>;
} {
  let content: Buffer;
  try {
    content = readFileSync(file);
  } catch (cause) {
    throw new AppError('file.unreadable', `The recording ${file} cannot be read: ${(cause as Error).message}`, {
      cause,
      remedy: RECORDING_REMEDY,
    });
  }
  const magicEnd = content.indexOf(10);
  const headerEnd = magicEnd < 0 ? -1 : content.indexOf(10, magicEnd + 1);
  if (headerEnd < 0 || content.subarray(0, magicEnd).toString('latin1') !== MAGIC) {
    throw new AppError('file.unreadable', `${file} is not a session recording: it does not begin with "${MAGIC}".`, {
      remedy: RECORDING_REMEDY,
    });
  }
  let header: RecordingHeader;
  try {
    header = JSON.parse(content.subarray(magicEnd + 1, headerEnd).toString()) as RecordingHeader;
  } catch (cause) {
    throw new AppError('file.unreadable', `The header of ${file} is damaged.`, { cause, remedy: RECORDING_REMEDY });
  }
  return { header, records: records(content.subarray(headerEnd + 1), file) };
}

function* records(data: Buffer, file: string): Generator<SessionRecord> {
  for (let at = 0; at + RECORD_HEADER_BYTES <= data.length;) {
    const type = NAMES.get(data.readUInt8(at));
    const length = data.readUInt32LE(at + 9);
    if (type === undefined || length > MAX_RECORD_BYTES) {
      throw new AppError('file.unreadable', `${file} is damaged ${at} bytes after its header.`);
    }
    const end = at + RECORD_HEADER_BYTES + length;
    if (end > data.length) return;
    yield { type, atUs: data.readDoubleLE(at + 1), data: data.subarray(at + RECORD_HEADER_BYTES, end) };
    at = end;
  }
}

/** A running digest over a sequence of digests or planes; hex at any time. */
export class SequenceDigest {
  readonly #hash: Hash = createHash('sha256');
  count = 0;

  add(...parts: readonly (string | Uint8Array)[]): void {
    for (const part of parts) this.#hash.update(part);
    this.count += 1;
  }

  get hex(): string {
    return this.#hash.copy().digest('hex');
  }
}
