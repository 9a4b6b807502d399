import { uint16, uint24, uint8 } from './bytes.ts';
import { HANDSHAKE_HEADER_BYTES, type HandshakeMessage } from './fragments.ts';
import { MTU_BYTES } from './limits.ts';
import { ContentType } from './protocol.ts';
import type { RecordWriter } from './records.ts';

/** Messages that go out together and are repeated together (RFC 6347 section 4.2.4). */
export interface Flight {
  /** In clear text. */
  readonly messages: readonly HandshakeMessage[];
  /** Behind them a ChangeCipherSpec and, protected, this message. */
  readonly finished?: HandshakeMessage;
  /** Record version, where it is not that of DTLS 1.2. */
  readonly recordVersion?: number;
}

const CHANGE_CIPHER_SPEC = Buffer.from([1]);

/** The flight in datagrams of at most MTU_BYTES, with new record sequence numbers. */
export function writeFlight(flight: Flight, writer: RecordWriter): Buffer[] {
  const records: Buffer[] = [];
  for (const message of flight.messages) records.push(...writeMessage(message, 0, writer, flight.recordVersion));
  if (flight.finished !== undefined) {
    records.push(writer.write(ContentType.changeCipherSpec, 0, CHANGE_CIPHER_SPEC));
    records.push(...writeMessage(flight.finished, 1, writer));
  }
  return pack(records);
}

function writeMessage(message: HandshakeMessage, epoch: 0 | 1, writer: RecordWriter, version?: number): Buffer[] {
  const room = MTU_BYTES - writer.overheadBytes(epoch) - HANDSHAKE_HEADER_BYTES;
  const { type, messageSequence, body } = message;
  const records: Buffer[] = [];
  let offset = 0;
  do {
    const bytes = body.subarray(offset, offset + room);
    const header = [uint8(type), uint24(body.length), uint16(messageSequence), uint24(offset), uint24(bytes.length)];
    records.push(writer.write(ContentType.handshake, epoch, Buffer.concat([...header, bytes]), version));
    offset += bytes.length;
  } while (offset < body.length);
  return records;
}

function pack(records: readonly Buffer[]): Buffer[] {
  const datagrams: Buffer[] = [];
  let parts: Buffer[] = [];
  let bytes = 0;
  for (const record of records) {
    if (bytes + record.length > MTU_BYTES && parts.length > 0) {
      datagrams.push(Buffer.concat(parts));
      parts = [];
      bytes = 0;
    }
    parts.push(record);
    bytes += record.length;
  }
  if (parts.length > 0) datagrams.push(Buffer.concat(parts));
  return datagrams;
}
