import type { DepacketizedUnit, Depacketizer } from './depacketizer.ts';
import type { RtpPacket } from './rtp.ts';

/** VP8 over RTP (RFC 7741). */

export interface Vp8Descriptor {
  /** First packet of a partition (S bit). */
  readonly start: boolean;
  readonly partition: number;
  /** 7 or 15 bits, if the sender counts pictures. */
  readonly pictureId: number | undefined;
  readonly nonReference: boolean;
  readonly bytes: number;
}

/** The payload descriptor (RFC 7741 section 4.2). @returns undefined when truncated. Reads at most six bytes. */
export function parseVp8Descriptor(payload: Uint8Array): Vp8Descriptor | undefined {
  const first = payload[0];
  if (first === undefined) return undefined;
  let offset = 1;
  let pictureId: number | undefined;
  if ((first & 0x80) !== 0) {
    const extension = payload[offset];
    if (extension === undefined) return undefined;
    offset += 1;
    if ((extension & 0x80) !== 0) {
      const high = payload[offset];
      if (high === undefined) return undefined;
      if ((high & 0x80) !== 0) {
        const low = payload[offset + 1];
        if (low === undefined) return undefined;
        pictureId = ((high & 0x7f) << 8) | low;
        offset += 2;
      } else {
        pictureId = high;
        offset += 1;
      }
    }
    if ((extension & 0x40) !== 0) offset += 1; // TL0PICIDX
    if ((extension & 0x30) !== 0) offset += 1; // TID, Y, KEYIDX
  }
  if (offset >= payload.length) return undefined;
  return {
    start: (first & 0x10) !== 0,
    partition: first & 0x07,
    pictureId,
    nonReference: (first & 0x20) !== 0,
    bytes: offset,
  };
}

/** Collects the packets of one frame. Linear in the frame's bytes and packets, which the assembler limits. */
export class Vp8Depacketizer implements Depacketizer {
  #parts: Uint8Array[] = [];
  #damaged = false;

  add(packet: Pick<RtpPacket, 'payload'>): void {
    if (packet.payload.length === 0) return;
    const descriptor = parseVp8Descriptor(packet.payload);
    if (descriptor === undefined) {
      this.#damaged = true;
      return;
    }
    const begins = descriptor.start && descriptor.partition === 0;
    if (this.#parts.length === 0 ? !begins : begins) this.#damaged = true;
    this.#parts.push(packet.payload.subarray(descriptor.bytes));
  }

  /** A VP8 frame tag's lowest bit is 0 on keyframes (RFC 6386 section 9.1). */
  finish(): DepacketizedUnit {
    const parts = this.#parts;
    const damaged = this.#damaged || parts.length === 0;
    this.reset();
    if (damaged) return 'damaged';
    const data = Buffer.concat(parts);
    if (data.length < 3) return 'damaged';
    return { data, keyframe: ((data[0] as number) & 1) === 0 };
  }

  reset(): void {
    this.#parts = [];
    this.#damaged = false;
  }
}

/**
 * Payloads with the descriptor of RFC 7741 section 4.2: S on the first.
 * @param pictureId 15 bits, on all payloads, or undefined: then the descriptor is one byte
 */
export function packetizeVp8(frame: Uint8Array, pictureId: number | undefined, maxBytes: number): Buffer[] {
  const descriptorBytes = pictureId === undefined ? 1 : 4;
  const room = maxBytes - descriptorBytes;
  const count = Math.max(1, Math.ceil(frame.length / room));
  const payloads: Buffer[] = [];
  for (let index = 0; index < count; index += 1) {
    const start = Math.floor((frame.length * index) / count);
    const end = Math.floor((frame.length * (index + 1)) / count);
    const payload = Buffer.allocUnsafe(descriptorBytes + end - start);
    payload[0] = index === 0 ? 0x10 : 0;
    if (pictureId !== undefined) {
      payload[0] |= 0x80;
      payload[1] = 0x80;
      payload.writeUInt16BE(0x8000 | (pictureId & 0x7fff), 2);
    }
    payload.set(frame.subarray(start, end), descriptorBytes);
    payloads.push(payload);
  }
  return payloads;
}
