import type { DepacketizedUnit, Depacketizer } from './depacketizer.ts';
import type { RtpPacket } from './rtp.ts';

/** VP9 over RTP (RFC 9628). Of spatial layers the base layer is taken, for the reason of AV1 (av1.ts). */

interface Vp9Descriptor {
  readonly interPredicted: boolean;
  readonly begins: boolean;
  readonly ends: boolean;
  readonly spatialLayer: number;
  readonly bytes: number;
}

/** The payload descriptor (RFC 9628 section 4.2). @returns undefined when truncated. Reads at most what the payload holds, each byte once. */
export function parseVp9Descriptor(payload: Uint8Array): Vp9Descriptor | undefined {
  const first = payload[0];
  if (first === undefined) return undefined;
  let offset = 1;
  if ((first & 0x80) !== 0) offset += ((payload[offset] ?? 0) & 0x80) !== 0 ? 2 : 1; // picture id
  const flexible = (first & 0x10) !== 0;
  let spatialLayer = 0;
  if ((first & 0x20) !== 0) {
    spatialLayer = ((payload[offset] ?? 0) >> 1) & 0x07;
    offset += flexible ? 1 : 2; // layer indices, TL0PICIDX in non-flexible mode
  }
  if (flexible && (first & 0x40) !== 0) {
    for (let references = 0; references < 3; references += 1) {
      const reference = payload[offset];
      if (reference === undefined) return undefined;
      offset += 1;
      if ((reference & 1) === 0) break;
    }
  }
  if ((first & 0x02) !== 0) {
    const structure = payload[offset];
    if (structure === undefined) return undefined;
    offset += 1;
    const layers = (structure >> 5) + 1;
    if ((structure & 0x10) !== 0) offset += 4 * layers;
    if ((structure & 0x08) !== 0) {
      const pictures = payload[offset];
      if (pictures === undefined) return undefined;
      offset += 1;
      for (let picture = 0; picture < pictures; picture += 1) {
        const entry = payload[offset];
        if (entry === undefined) return undefined;
        offset += 1 + ((entry >> 2) & 3);
      }
    }
  }
  if (offset >= payload.length) return undefined;
  return {
    interPredicted: (first & 0x40) !== 0,
    begins: (first & 0x08) !== 0,
    ends: (first & 0x04) !== 0,
    spatialLayer,
    bytes: offset,
  };
}

/** Collects the packets of one frame. Linear in the frame's bytes and packets, which the assembler limits. */
export class Vp9Depacketizer implements Depacketizer {
  #parts: Uint8Array[] = [];
  #damaged = false;
  #keyframe = false;

  add(packet: Pick<RtpPacket, 'payload'>): void {
    if (packet.payload.length === 0) return;
    const descriptor = parseVp9Descriptor(packet.payload);
    if (descriptor === undefined) {
      this.#damaged = true;
      return;
    }
    if (descriptor.spatialLayer > 0) return;
    if (this.#parts.length === 0) {
      if (!descriptor.begins) this.#damaged = true;
      this.#keyframe = !descriptor.interPredicted;
    }
    this.#parts.push(packet.payload.subarray(descriptor.bytes));
  }

  finish(): DepacketizedUnit {
    const parts = this.#parts;
    const keyframe = this.#keyframe;
    const damaged = this.#damaged || parts.length === 0;
    this.reset();
    return damaged ? 'damaged' : { data: Buffer.concat(parts), keyframe };
  }

  reset(): void {
    this.#parts = [];
    this.#damaged = false;
    this.#keyframe = false;
  }
}
