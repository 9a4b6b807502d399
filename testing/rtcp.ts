import {
  DELTA_UNIT_US,
  LARGE_DELTA,
  NOT_RECEIVED,
  REFERENCE_UNIT_US,
  SMALL_DELTA,
} from '../server/media/transport-cc.ts';
import { writeHeader } from '../server/media/rtcp.ts';

/** RTCP that the server itself never reads or never sends: what a sender, a viewer and a hostile peer need in tests. */

const PSFB = 206;
const BYE = 203;
const REMB_ID = 0x52454d42;

/** draft-alvestrand-rmcat-remb-03 section 2.2. */
export function buildRemb(senderSsrc: number, bitrateBps: number, ssrcs: readonly number[]): Buffer {
  let exponent = 0;
  let mantissa = Math.round(bitrateBps);
  while (mantissa >= 2 ** 18) {
    mantissa = Math.floor(mantissa / 2);
    exponent += 1;
  }
  const packet = Buffer.alloc(20 + ssrcs.length * 4);
  writeHeader(packet, 15, PSFB);
  packet.writeUInt32BE(senderSsrc, 4);
  packet.writeUInt32BE(REMB_ID, 12);
  packet[16] = ssrcs.length;
  packet[17] = (exponent << 2) | (mantissa >> 16);
  packet.writeUInt16BE(mantissa & 0xffff, 18);
  ssrcs.forEach((ssrc, index) => packet.writeUInt32BE(ssrc, 20 + index * 4));
  return packet;
}

/** RFC 3550 section 6.6. */
export function buildBye(ssrcs: readonly number[]): Buffer {
  const packet = Buffer.alloc(4 + ssrcs.length * 4);
  writeHeader(packet, ssrcs.length, BYE);
  ssrcs.forEach((ssrc, index) => packet.writeUInt32BE(ssrc, 4 + index * 4));
  return packet;
}

export interface TransportFeedback {
  readonly baseSequence: number;
  readonly feedbackCount: number;
  readonly referenceTimeUs: number;
  /** One per sequence number from baseSequence on; undefined: not received. Microseconds on the reference's clock. */
  readonly arrivalsUs: readonly (number | undefined)[];
}

/** @returns undefined when the packet is not well-formed */
export function parseTransportFeedback(packet: Buffer): TransportFeedback | undefined {
  if (packet.length < 20) return undefined;
  let end = packet.length;
  if (((packet[0] as number) & 0x20) !== 0) end -= packet[end - 1] as number;
  const baseSequence = packet.readUInt16BE(12);
  const count = packet.readUInt16BE(14);
  const referenceTimeUs = packet.readUIntBE(16, 3) * REFERENCE_UNIT_US;
  const statuses: number[] = [];
  let offset = 20;
  while (statuses.length < count) {
    if (offset + 2 > end) return undefined;
    const chunk = packet.readUInt16BE(offset);
    offset += 2;
    if ((chunk & 0x8000) === 0) {
      const run = Math.min(chunk & 0x1fff, count - statuses.length);
      for (let index = 0; index < run; index += 1) statuses.push((chunk >> 13) & 3);
      if (run === 0) return undefined;
    } else if ((chunk & 0x4000) === 0) {
      for (let bit = 13; bit >= 0; bit -= 1) statuses.push((chunk >> bit) & 1);
    } else {
      for (let bit = 12; bit >= 0; bit -= 2) statuses.push((chunk >> bit) & 3);
    }
  }
  statuses.length = count;
  const arrivalsUs: (number | undefined)[] = [];
  let clockUs = referenceTimeUs;
  for (const status of statuses) {
    if (status === NOT_RECEIVED) {
      arrivalsUs.push(undefined);
      continue;
    }
    const bytes = status === SMALL_DELTA ? 1 : 2;
    if (status > LARGE_DELTA || offset + bytes > end) return undefined;
    clockUs += (bytes === 1 ? packet.readUInt8(offset) : packet.readInt16BE(offset)) * DELTA_UNIT_US;
    offset += bytes;
    arrivalsUs.push(clockUs);
  }
  return { baseSequence, feedbackCount: packet[19] as number, referenceTimeUs, arrivalsUs };
}
