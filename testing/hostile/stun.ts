import { createHmac, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** STUN messages by hand (RFC 8489), right or wrong as a test wants them. */

export const StunType = { request: 0x0001, indication: 0x0011, success: 0x0101, error: 0x0111 } as const;
export const StunAttribute = {
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  xorMappedAddress: 0x0020,
  priority: 0x0024,
  useCandidate: 0x0025,
  fingerprint: 0x8028,
  iceControlled: 0x8029,
  iceControlling: 0x802a,
} as const;

const MAGIC_COOKIE = 0x2112a442;
const HEADER_BYTES = 20;
const INTEGRITY_BYTES = 24;
const FINGERPRINT_BYTES = 8;

export interface IceCredentials {
  readonly usernameFragment: string;
  readonly password: string;
}

export function attribute(type: number, value: Buffer): Buffer {
  const padded = Buffer.alloc(4 + value.length + ((4 - (value.length % 4)) % 4));
  padded.writeUInt16BE(type, 0);
  padded.writeUInt16BE(value.length, 2);
  value.copy(padded, 4);
  return padded;
}

/** @param key with it the message carries MESSAGE-INTEGRITY; it always carries FINGERPRINT */
export function stunMessage(type: number, transaction: Buffer, attributes: readonly Buffer[], key?: string): Buffer {
  const header = (bodyBytes: number): Buffer => {
    const bytes = Buffer.alloc(HEADER_BYTES);
    bytes.writeUInt16BE(type, 0);
    bytes.writeUInt16BE(bodyBytes, 2);
    bytes.writeUInt32BE(MAGIC_COOKIE, 4);
    transaction.copy(bytes, 8);
    return bytes;
  };
  let body = Buffer.concat(attributes);
  if (key !== undefined) {
    const signed = Buffer.concat([header(body.length + INTEGRITY_BYTES), body]);
    const digest = createHmac('sha1', key).update(signed).digest();
    body = Buffer.concat([body, attribute(StunAttribute.messageIntegrity, digest)]);
  }
  const sum = Buffer.alloc(4);
  const checked = Buffer.concat([header(body.length + FINGERPRINT_BYTES), body]);
  sum.writeUInt32BE((crc32(checked) ^ 0x5354554e) >>> 0);
  body = Buffer.concat([body, attribute(StunAttribute.fingerprint, sum)]);
  return Buffer.concat([header(body.length), body]);
}

export interface CheckOptions {
  readonly useCandidate?: boolean;
  readonly controlling?: boolean;
  readonly priority?: number;
  readonly transaction?: Buffer;
}

/** A connectivity check (RFC 8445 section 7.2) towards `to`, from the side with this username fragment. */
export function connectivityCheck(
  to: IceCredentials,
  fromUsernameFragment: string,
  options: CheckOptions = {},
): Buffer {
  const { useCandidate = false, controlling = true, priority = 1, transaction = randomBytes(12) } = options;
  const attributes = [
    attribute(StunAttribute.username, Buffer.from(`${to.usernameFragment}:${fromUsernameFragment}`)),
    attribute(StunAttribute.priority, uint32(priority)),
    attribute(controlling ? StunAttribute.iceControlling : StunAttribute.iceControlled, randomBytes(8)),
    ...(useCandidate ? [attribute(StunAttribute.useCandidate, Buffer.alloc(0))] : []),
  ];
  return stunMessage(StunType.request, transaction, attributes, to.password);
}

/** The answer to a check: the address that it came from (IPv4). @param key password of the side that answers */
export function checkSuccess(
  transaction: Buffer,
  from: { readonly address: string; readonly port: number },
  key: string,
): Buffer {
  const value = Buffer.alloc(8);
  value[1] = 1;
  value.writeUInt16BE(from.port ^ (MAGIC_COOKIE >>> 16), 2);
  const address = from.address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  value.writeUInt32BE((address ^ MAGIC_COOKIE) >>> 0, 4);
  return stunMessage(StunType.success, transaction, [attribute(StunAttribute.xorMappedAddress, value)], key);
}

/** @param code for example 401 or 487; undefined: an error answer without ERROR-CODE */
export function checkError(transaction: Buffer, key: string | undefined, code?: number): Buffer {
  const attributes =
    code === undefined
      ? []
      : [attribute(StunAttribute.errorCode, Buffer.from([0, 0, Math.floor(code / 100), code % 100]))];
  return stunMessage(StunType.error, transaction, attributes, key);
}

export function isStun(data: Buffer, type: number): boolean {
  return data.length >= HEADER_BYTES && data.readUInt16BE(0) === type && data.readUInt32BE(4) === MAGIC_COOKIE;
}

export function transactionOf(message: Buffer): Buffer {
  return message.subarray(8, HEADER_BYTES);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}
