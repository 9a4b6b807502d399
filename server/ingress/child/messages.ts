import { AppError, type AppErrorJson } from '../../errors.ts';
import { AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, type SourceCodec } from '../../media/types.ts';

/**
 * What passes between the server and the process that pulls one stream. The job goes in by standard input as a line of JSON, whose
 * end ends the process; everything else comes out by a pipe of its own, as records. The server reads them as a stranger's: the
 * process has met whatever the target sends.
 */

export interface PullJob {
  readonly url: string;
  readonly transport: 'tcp' | 'udp';
  readonly timeoutMs: number;
  /** limits.maxSourcePixels: of several renditions the largest below is taken. */
  readonly maxPixels: number;
  /** targets.allow */
  readonly allow: readonly string[];
}

/** File descriptor of the child's pipe to the server. */
export const RECORD_FD = 3;

export interface VideoRecord {
  readonly kind: 'video';
  readonly codec: SourceCodec;
  readonly keyframe: boolean;
  /** Presentation time, 1/90000 s, from 0; never steps back except for B-frames. */
  readonly timestamp: number;
  readonly data: Uint8Array;
}
export interface AudioRecord {
  readonly kind: 'audio';
  /** Of the same clock, 1/48000 s. */
  readonly timestamp: number;
  /** One Opus packet. */
  readonly data: Uint8Array;
}
export type Report =
  /** The stream is open; its tracks are known. */
  | { readonly type: 'opened'; readonly hasAudio: boolean; readonly notices: readonly string[] }
  /** Once a second, totals. */
  | { readonly type: 'alive'; readonly framesDropped: number; readonly damaged: number }
  | { readonly type: 'ended' }
  | { readonly type: 'failed'; readonly error: AppErrorJson };
export type PullRecord = VideoRecord | AudioRecord | { readonly kind: 'report'; readonly report: Report };

/** Larger access units than this are no picture of a camera. */
export const MAX_RECORD_BYTES = 8 * 2 ** 20;

const CODECS: readonly SourceCodec[] = ['H264', 'VP8', 'VP9', 'AV1'];
/** Bytes of the payload, kind. */
const HEAD = 5;
const KIND = { report: 0, video: 1, audio: 2 } as const;

export function encodeRecord(record: PullRecord): Buffer[] {
  switch (record.kind) {
    case 'report':
      return framed(KIND.report, Buffer.alloc(0), Buffer.from(JSON.stringify(record.report)));
    case 'video': {
      const fields = Buffer.alloc(10);
      fields[0] = CODECS.indexOf(record.codec);
      fields[1] = record.keyframe ? 1 : 0;
      fields.writeDoubleBE(record.timestamp, 2);
      return framed(KIND.video, fields, record.data);
    }
    case 'audio': {
      const fields = Buffer.alloc(8);
      fields.writeDoubleBE(record.timestamp, 0);
      return framed(KIND.audio, fields, record.data);
    }
  }
}

function framed(kind: number, fields: Buffer, data: Uint8Array): Buffer[] {
  const head = Buffer.alloc(HEAD);
  head.writeUInt32BE(fields.length + data.length, 0);
  head[4] = kind;
  return [Buffer.concat([head, fields]), Buffer.from(data.buffer, data.byteOffset, data.byteLength)];
}

/** Records out of a byte stream, however it is cut. */
export class RecordReader {
  #chunks: Buffer[] = [];
  #bytes = 0;

  /** @throws AppError target.answer: the process sends no records */
  push(chunk: Buffer): PullRecord[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const records: PullRecord[] = [];
    for (;;) {
      const head = this.#peek(HEAD);
      if (head === undefined) return records;
      const length = head.readUInt32BE(0);
      if (length > MAX_RECORD_BYTES) throw malformed(`a record of ${length} bytes`);
      if (this.#bytes < HEAD + length) return records;
      const whole = this.#take(HEAD + length);
      records.push(decodeRecord(whole[4] ?? -1, whole.subarray(HEAD)));
    }
  }

  #peek(bytes: number): Buffer | undefined {
    if (this.#bytes < bytes) return undefined;
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= bytes) return first;
    this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0];
  }

  /** The bytes are there. */
  #take(bytes: number): Buffer {
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#bytes -= bytes;
    this.#chunks = this.#bytes === 0 ? [] : [all.subarray(bytes)];
    return all.subarray(0, bytes);
  }
}

function decodeRecord(kind: number, payload: Buffer): PullRecord {
  if (kind === KIND.report) return { kind: 'report', report: decodeReport(payload) };
  const timestampAt = kind === KIND.video ? 2 : 0;
  if (![KIND.video, KIND.audio].some((known) => known === kind) || payload.length <= timestampAt + 8) {
    throw malformed(`a record of kind ${kind} and ${payload.length} bytes`);
  }
  const timestamp = payload.readDoubleBE(timestampAt);
  const hertz = kind === KIND.video ? VIDEO_CLOCK_HZ : AUDIO_CLOCK_HZ;
  // A century: RTP's clocks wrap, this one must stay a whole number.
  if (!Number.isSafeInteger(timestamp) || Math.abs(timestamp) > hertz * 3.2e9) throw malformed('a timestamp');
  const data = payload.subarray(timestampAt + 8);
  if (kind === KIND.audio) return { kind: 'audio', timestamp, data };
  const codec = CODECS[payload[0] ?? -1];
  if (codec === undefined) throw malformed('a codec');
  return { kind: 'video', codec, keyframe: payload[1] === 1, timestamp, data };
}

function decodeReport(payload: Buffer): Report {
  let report: unknown;
  try {
    report = JSON.parse(payload.toString('utf8'));
  } catch {
    throw malformed('a report');
  }
  const fields = (typeof report === 'object' && report !== null ? report : {}) as Record<string, unknown>;
  const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 500) : '');
  const count = (value: unknown): number => (Number.isSafeInteger(value) ? Math.max(0, value as number) : 0);
  switch (fields['type']) {
    case 'opened': {
      const notices = Array.isArray(fields['notices']) ? fields['notices'].slice(0, 8).map(text) : [];
      return { type: 'opened', hasAudio: fields['hasAudio'] === true, notices };
    }
    case 'alive':
      return { type: 'alive', framesDropped: count(fields['framesDropped']), damaged: count(fields['damaged']) };
    case 'ended':
      return { type: 'ended' };
    case 'failed': {
      const error = (fields['error'] ?? {}) as Partial<Record<string, unknown>>;
      const code = text(error['code']);
      const known = PULL_ERRORS.find((candidate) => candidate === code) ?? 'target.answer';
      return { type: 'failed', error: new AppError(known, text(error['message'])).toJSON() };
    }
    default:
      throw malformed('a report');
  }
}

/** What the process may report: none of them ends more than its stream. */
const PULL_ERRORS = [
  'target.refused',
  'target.unreachable',
  'target.answer',
  'media.unsupported',
  'file.unreadable',
] as const;

function malformed(what: string): AppError {
  return new AppError('target.answer', `The process that pulls the stream sent ${what} that cannot be right.`);
}
