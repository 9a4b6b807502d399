import { safely } from './safely.ts';
import type { RecordCipher } from './werift-internals.ts';

/** DTLS 1.2 records (RFC 6347 section 4.1) as they come from the network: which of them werift must not see. */

const CHANGE_CIPHER_SPEC = 20;
export const ALERT = 21;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const CLIENT_HELLO = 1;

/**
 * Records that would end or reset an established session without proof of where they come from. werift takes every record
 * type it does not know for an alert, and believes an alert whose ciphertext happens to look like a known one.
 */
export function hasForgedRecord(data: Buffer, cipher: RecordCipher): boolean {
  for (let at = 0; at + 13 <= data.length; at += 13 + data.readUInt16BE(at + 11)) {
    const type = data[at] as number;
    const epoch = data.readUInt16BE(at + 3);
    if (type < CHANGE_CIPHER_SPEC || type > APPLICATION_DATA) return true;
    if (epoch === 0 && type === HANDSHAKE && data[at + 13] === CLIENT_HELLO) return true;
    if (type === ALERT && (epoch === 0 || !authentic(data, at, cipher))) return true;
  }
  return false;
}

/** RFC 6347 section 4.1: the record at this place decrypts under the session's keys. */
function authentic(data: Buffer, at: number, cipher: RecordCipher): boolean {
  const recordLayerHeader = {
    contentType: data[at],
    protocolVersion: { major: data[at + 1], minor: data[at + 2] },
    epoch: data.readUInt16BE(at + 3),
    sequenceNumber: data.readUIntBE(at + 5, 6),
  };
  const fragment = data.subarray(at + 13, at + 13 + data.readUInt16BE(at + 11));
  return safely(() => cipher.decryptPacket({ recordLayerHeader, fragment })) !== undefined;
}
