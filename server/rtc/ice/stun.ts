import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { crc32 } from 'node:zlib';
import type { Address } from '../udp-socket.ts';

/**
 * STUN Binding messages (RFC 8489) with the attributes of ICE (RFC 8445 section 16.1). Worst case: one pass over at most
 * MAX_STUN_BYTES, and one HMAC over them when integrity is checked.
 */

export type StunClass = 'request' | 'indication' | 'success' | 'error';

export interface StunMessage {
  readonly messageClass: StunClass;
  /** 12 bytes. */
  readonly transactionId: Buffer;
  readonly username: string | undefined;
  readonly priority: number | undefined;
  readonly useCandidate: boolean;
  /** Tie-breaker of ICE-CONTROLLING or ICE-CONTROLLED. */
  readonly role: { readonly controlling: boolean; readonly tieBreaker: bigint } | undefined;
  readonly errorCode: number | undefined;
  readonly mappedAddress: Address | undefined;
  /** Where MESSAGE-INTEGRITY begins. */
  readonly integrityAt: number | undefined;
}

const MAGIC_COOKIE = 0x2112a442;
const HEADER_BYTES = 20;
/** RFC 8489 section 6.1: a message fits the path's MTU. */
const MAX_STUN_BYTES = 1500;
const MAX_ATTRIBUTES = 32;
/** RFC 8489 section 14.3: fewer than 509 bytes. */
const MAX_USERNAME_BYTES = 513;
const INTEGRITY_BYTES = 20;
const FINGERPRINT_XOR = 0x5354554e;

const TYPES: readonly (readonly [number, StunClass])[] = [
  [0x0001, 'request'],
  [0x0011, 'indication'],
  [0x0101, 'success'],
  [0x0111, 'error'],
];

const ATTRIBUTE = {
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  xorMappedAddress: 0x0020,
  priority: 0x0024,
  useCandidate: 0x0025,
  fingerprint: 0x8028,
  controlled: 0x8029,
  controlling: 0x802a,
} as const;

/** @returns undefined for anything but a whole Binding message with a right FINGERPRINT, if it has one */
export function parseStun(data: Buffer): StunMessage | undefined {
  if (data.length < HEADER_BYTES || data.length > MAX_STUN_BYTES) return undefined;
  const messageClass = TYPES.find(([type]) => type === data.readUInt16BE(0))?.[1];
  const length = data.readUInt16BE(2);
  if (messageClass === undefined || data.readUInt32BE(4) !== MAGIC_COOKIE) return undefined;
  if (length % 4 !== 0 || HEADER_BYTES + length !== data.length) return undefined;
  const message: { -readonly [Key in keyof StunMessage]: StunMessage[Key] } = {
    messageClass,
    transactionId: data.subarray(8, HEADER_BYTES),
    username: undefined,
    priority: undefined,
    useCandidate: false,
    role: undefined,
    errorCode: undefined,
    mappedAddress: undefined,
    integrityAt: undefined,
  };
  let count = 0;
  for (let at = HEADER_BYTES; at < data.length; count += 1) {
    if (count === MAX_ATTRIBUTES || at + 4 > data.length) return undefined;
    const type = data.readUInt16BE(at);
    const bytes = data.readUInt16BE(at + 2);
    const next = at + 4 + Math.ceil(bytes / 4) * 4;
    if (next > data.length) return undefined;
    const value = data.subarray(at + 4, at + 4 + bytes);
    if (type === ATTRIBUTE.fingerprint) {
      // RFC 8489 section 14.7: the last attribute.
      if (bytes !== 4 || next !== data.length) return undefined;
      if (value.readUInt32BE(0) !== fingerprintOf(data.subarray(0, at))) return undefined;
    } else if (message.integrityAt === undefined && !read(message, type, value, at)) {
      // Section 14.5: what follows MESSAGE-INTEGRITY is not protected and therefore ignored.
      return undefined;
    }
    at = next;
  }
  return message;
}

/** @returns false for a known attribute that is malformed */
function read(
  message: { -readonly [Key in keyof StunMessage]: StunMessage[Key] },
  type: number,
  value: Buffer,
  at: number,
): boolean {
  switch (type) {
    case ATTRIBUTE.username:
      if (value.length > MAX_USERNAME_BYTES) return false;
      message.username = value.toString('utf8');
      return true;
    case ATTRIBUTE.messageIntegrity:
      if (value.length !== INTEGRITY_BYTES) return false;
      message.integrityAt = at;
      return true;
    case ATTRIBUTE.errorCode:
      if (value.length < 4) return false;
      message.errorCode = ((value[2] as number) & 7) * 100 + ((value[3] as number) % 100);
      return true;
    case ATTRIBUTE.xorMappedAddress:
      message.mappedAddress = readXorAddress(value, message.transactionId);
      return message.mappedAddress !== undefined;
    case ATTRIBUTE.priority:
      if (value.length !== 4) return false;
      message.priority = value.readUInt32BE(0);
      return true;
    case ATTRIBUTE.useCandidate:
      message.useCandidate = true;
      return true;
    case ATTRIBUTE.controlling:
    case ATTRIBUTE.controlled:
      if (value.length !== 8) return false;
      message.role = { controlling: type === ATTRIBUTE.controlling, tieBreaker: value.readBigUInt64BE(0) };
      return true;
    default:
      return true;
  }
}

/** MESSAGE-INTEGRITY under a short-term password (RFC 8489 section 9.1.3). */
export function hasIntegrity(data: Buffer, message: StunMessage, password: string): boolean {
  const at = message.integrityAt;
  if (at === undefined) return false;
  return timingSafeEqual(integrityOf(data.subarray(0, at), password), data.subarray(at + 4, at + 4 + INTEGRITY_BYTES));
}

export interface CheckRequest {
  readonly username: string;
  readonly password: string;
  readonly priority: number;
  readonly controlling: boolean;
  readonly tieBreaker: bigint;
  readonly useCandidate: boolean;
}

export function newTransactionId(): Buffer {
  return randomBytes(12);
}

/** A connectivity check (RFC 8445 section 7.1). */
export function buildCheck(transactionId: Buffer, check: CheckRequest): Buffer {
  const priority = Buffer.alloc(4);
  priority.writeUInt32BE(check.priority, 0);
  const tieBreaker = Buffer.alloc(8);
  tieBreaker.writeBigUInt64BE(check.tieBreaker, 0);
  const attributes = [
    attribute(ATTRIBUTE.username, Buffer.from(check.username, 'utf8')),
    attribute(ATTRIBUTE.priority, priority),
    attribute(check.controlling ? ATTRIBUTE.controlling : ATTRIBUTE.controlled, tieBreaker),
  ];
  if (check.useCandidate) attributes.push(attribute(ATTRIBUTE.useCandidate, Buffer.alloc(0)));
  return finish('request', transactionId, attributes, check.password);
}

/** A request to a STUN server: without credentials. */
export function buildQuery(transactionId: Buffer): Buffer {
  return finish('request', transactionId, [], undefined);
}

export function buildSuccess(transactionId: Buffer, mappedAddress: Address, password: string | undefined): Buffer {
  const value = writeXorAddress(mappedAddress, transactionId);
  return finish('success', transactionId, [attribute(ATTRIBUTE.xorMappedAddress, value)], password);
}

export function buildError(transactionId: Buffer, code: number, password: string | undefined): Buffer {
  const value = Buffer.from([0, 0, Math.floor(code / 100), code % 100]);
  return finish('error', transactionId, [attribute(ATTRIBUTE.errorCode, value)], password);
}

function finish(
  messageClass: StunClass,
  transactionId: Buffer,
  attributes: readonly Buffer[],
  password: string | undefined,
): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(TYPES.find(([, name]) => name === messageClass)?.[0] ?? 0, 0);
  header.writeUInt32BE(MAGIC_COOKIE, 4);
  transactionId.copy(header, 8);
  let message = Buffer.concat([header, ...attributes]);
  if (password !== undefined) {
    message = Buffer.concat([message, attribute(ATTRIBUTE.messageIntegrity, integrityOf(message, password))]);
  }
  message.writeUInt16BE(message.length + 8 - HEADER_BYTES, 2);
  const fingerprint = Buffer.alloc(4);
  fingerprint.writeUInt32BE(fingerprintOf(message), 0);
  return Buffer.concat([message, attribute(ATTRIBUTE.fingerprint, fingerprint)]);
}

function attribute(type: number, value: Buffer): Buffer {
  const padded = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
  padded.writeUInt16BE(type, 0);
  padded.writeUInt16BE(value.length, 2);
  value.copy(padded, 4);
  return padded;
}

/** Over the message in front of MESSAGE-INTEGRITY, with the length that includes it. */
function integrityOf(message: Buffer, password: string): Buffer {
  const header = Buffer.from(message.subarray(0, HEADER_BYTES));
  header.writeUInt16BE(message.length + 4 + INTEGRITY_BYTES - HEADER_BYTES, 2);
  return createHmac('sha1', password).update(header).update(message.subarray(HEADER_BYTES)).digest();
}

/** The header's length must already include FINGERPRINT, as it does in a received message. */
function fingerprintOf(message: Buffer): number {
  return (crc32(message) ^ FINGERPRINT_XOR) >>> 0;
}

function xorMask(transactionId: Buffer): Buffer {
  const mask = Buffer.alloc(16);
  mask.writeUInt32BE(MAGIC_COOKIE, 0);
  transactionId.copy(mask, 4);
  return mask;
}

function readXorAddress(value: Buffer, transactionId: Buffer): Address | undefined {
  const family = value[1];
  if (value.length !== (family === 1 ? 8 : family === 2 ? 20 : -1)) return undefined;
  const mask = xorMask(transactionId);
  const bytes = [...value.subarray(4)].map((byte, at) => byte ^ (mask[at] as number));
  const port = value.readUInt16BE(2) ^ (MAGIC_COOKIE >>> 16);
  if (family === 1) return [bytes.join('.'), port];
  const groups = Array.from({ length: 8 }, (_, at) =>
    (((bytes[2 * at] as number) << 8) | (bytes[2 * at + 1] as number)).toString(16),
  );
  return [groups.join(':'), port];
}

function writeXorAddress([host, port]: Address, transactionId: Buffer): Buffer {
  const bytes = addressBytes(host);
  const mask = xorMask(transactionId);
  const value = Buffer.alloc(4 + bytes.length);
  value[1] = bytes.length === 4 ? 1 : 2;
  value.writeUInt16BE(port ^ (MAGIC_COOKIE >>> 16), 2);
  bytes.forEach((byte, at) => (value[4 + at] = byte ^ (mask[at] as number)));
  return value;
}

/** @param host an IPv4 or IPv6 literal */
function addressBytes(host: string): readonly number[] {
  if (!isIPv6(host)) return host.split('.').map(Number);
  // An IPv4 tail (::ffff:192.0.2.1) becomes two groups.
  const text = host.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [front = '', back] = text.split('::');
  const groupsOf = (part: string) => (part === '' ? [] : part.split(':').map((group) => parseInt(group, 16)));
  const before = groupsOf(front);
  const after = back === undefined ? [] : groupsOf(back);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  return [...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 0xff]);
}
