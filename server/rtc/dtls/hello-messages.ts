import { ByteReader, uint16, uint16List, uint16Vector, uint8, vector } from './bytes.ts';
import { readExtensions, writeExtensions, type Extensions } from './extensions.ts';
import { NULL_COMPRESSION, RANDOM_BYTES, VERSION_1_0, VERSION_1_2 } from './protocol.ts';

/** ClientHello, HelloVerifyRequest and ServerHello (RFC 6347 section 4.3.2). */

export interface ClientHello {
  readonly version: number;
  readonly random: Buffer;
  readonly sessionId: Buffer;
  readonly cookie: Buffer;
  readonly suites: readonly number[];
  readonly compressions: readonly number[];
  readonly extensions: Extensions;
  /** What a second ClientHello must repeat besides its cookie (RFC 6347 section 4.2.1). */
  readonly parameters: Buffer;
}

export function readClientHello(body: Buffer): ClientHello {
  const reader = new ByteReader(body);
  const version = reader.uint16();
  const random = reader.take(RANDOM_BYTES);
  const sessionId = reader.vector(1, { max: 32 });
  const cookie = reader.vector(1);
  const suites = reader.vector(2, { min: 2 });
  const compressions = reader.vector(1, { min: 1 });
  return {
    version,
    random,
    sessionId,
    cookie,
    suites: uint16List(suites),
    compressions: [...compressions],
    extensions: readExtensions(reader).known,
    parameters: Buffer.concat([uint16(version), random, vector(1, sessionId), vector(2, suites), compressions]),
  };
}

export function writeClientHello(hello: {
  readonly random: Buffer;
  readonly cookie: Buffer;
  readonly suites: readonly number[];
  readonly extensions: Extensions;
}): Buffer {
  return Buffer.concat([
    uint16(VERSION_1_2),
    hello.random,
    vector(1), // no session to resume
    vector(1, hello.cookie),
    uint16Vector(hello.suites),
    vector(1, uint8(NULL_COMPRESSION)),
    writeExtensions(hello.extensions),
  ]);
}

export function readHelloVerifyRequest(body: Buffer): { readonly cookie: Buffer } {
  const reader = new ByteReader(body);
  reader.uint16(); // RFC 6347 section 4.2.1: the version here decides nothing
  const cookie = reader.vector(1);
  reader.end();
  return { cookie };
}

/** Says DTLS 1.0, as section 4.2.1 asks of every server: the version is negotiated by the ServerHello. */
export function writeHelloVerifyRequest(cookie: Buffer): Buffer {
  return Buffer.concat([uint16(VERSION_1_0), vector(1, cookie)]);
}

export interface ServerHello {
  readonly version: number;
  readonly random: Buffer;
  readonly suite: number;
  readonly compression: number;
  readonly extensions: Extensions;
  readonly extensionTypes: ReadonlySet<number>;
}

export function readServerHello(body: Buffer): ServerHello {
  const reader = new ByteReader(body);
  const version = reader.uint16();
  const random = reader.take(RANDOM_BYTES);
  reader.vector(1, { max: 32 }); // a session that we never resume
  const suite = reader.uint16();
  const compression = reader.uint8();
  const { known, types } = readExtensions(reader);
  return { version, random, suite, compression, extensions: known, extensionTypes: types };
}

export function writeServerHello(hello: {
  readonly random: Buffer;
  readonly suite: number;
  readonly extensions: Extensions;
}): Buffer {
  return Buffer.concat([
    uint16(VERSION_1_2),
    hello.random,
    vector(1), // the session cannot be resumed
    uint16(hello.suite),
    uint8(NULL_COMPRESSION),
    writeExtensions(hello.extensions),
  ]);
}
