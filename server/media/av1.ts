import { OBU, isShownKeyframe, parseObuHeader, parseSequenceHeader, readLeb128, sizedObu } from './av1-obu.ts';
import type { DepacketizedUnit, Depacketizer } from './depacketizer.ts';
import type { RtpPacket } from './rtp.ts';

/** AV1 over RTP (AOM "RTP Payload Format For AV1" 1.0). An access unit is the base layer of a temporal unit. */

interface Av1Elements {
  /** Z: the first element goes on with the last one of the packet before. */
  readonly continues: boolean;
  /** Y: the last element goes on in the next packet. */
  readonly continued: boolean;
  readonly elements: readonly Uint8Array[];
}

/** OBU elements of one packet: each has at least its length byte, and a packet less than 1500 bytes. */
const MAX_ELEMENTS = 1024;
/** OBUs of one temporal unit; a frame has a handful. */
const MAX_OBUS = 4096;
/** Real ones take 10 to 20 bytes; 32 operating points stay below this. */
const MAX_SEQUENCE_HEADER_BYTES = 1024;
/** Of one temporal unit; encoders send one, or one for each spatial layer. */
const MAX_SEQUENCE_HEADERS = 8;
const TEMPORAL_DELIMITER = Uint8Array.of(0x12, 0x00);

/** The aggregation header (section 4.4) and the elements behind it, as views. @returns undefined when malformed */
export function parseAv1Payload(payload: Uint8Array): Av1Elements | undefined {
  const header = payload[0];
  if (header === undefined) return undefined;
  const continues = (header & 0x80) !== 0;
  const count = (header >> 4) & 3;
  // N, a new coded video sequence, cannot begin in the middle of an OBU.
  if (continues && (header & 0x08) !== 0) return undefined;
  const elements: Uint8Array[] = [];
  let at = 1;
  while (at < payload.length) {
    if (elements.length === (count === 0 ? MAX_ELEMENTS : count)) return undefined;
    let bytes = payload.length - at;
    // The last of W elements has no length; with W = 0 all have one.
    if (count === 0 || elements.length < count - 1) {
      const length = readLeb128(payload, at);
      if (length === undefined) return undefined;
      at += length.bytes;
      bytes = length.value;
    }
    if (at + bytes > payload.length) return undefined;
    elements.push(payload.subarray(at, at + bytes));
    at += bytes;
  }
  if (elements.length === 0 || (count !== 0 && elements.length !== count)) return undefined;
  return { continues, continued: (header & 0x40) !== 0, elements };
}

/** Whether a packet begins a temporal unit: its first OBU is whole from here on, comes in front of tiles, and is of the base layer. */
export function startsTemporalUnit(payload: Uint8Array): boolean {
  const parsed = parseAv1Payload(payload);
  const first = parsed?.elements[0];
  if (parsed === undefined || parsed.continues || first === undefined) return false;
  const header = parseObuHeader(first);
  return header !== undefined && header.type !== OBU.tileGroup && header.spatialLayer === 0;
}

/** A packet that begins with a sequence header, as those of keyframes do; N (section 4.4) is not set by every sender. */
export function startsCodedSequence(payload: Uint8Array): boolean {
  const parsed = parseAv1Payload(payload);
  if (parsed === undefined || parsed.continues) return false;
  return parsed.elements.some((element) => parseObuHeader(element)?.type === OBU.sequenceHeader);
}

/**
 * Collects the packets of one temporal unit; the result is the low-overhead format (AV1 section 5.2): a temporal delimiter, then each
 * OBU with its size. Of spatial layers the base layer is taken: encoders leave out frames of the upper ones whenever the rate
 * is short (Chromium 156 at 640x360 and 800 kbit/s: a third), and the picture would change its size with them. The sequence header is remembered across units: a keyframe without one gets it in front.
 * Worst case: linear in the unit's bytes (two copies) and packets, which the assembler limits; at most 4096 OBUs, and 1 KiB is remembered.
 */
export class Av1Depacketizer implements Depacketizer {
  /** Size fields included. */
  #parts: Uint8Array[] = [];
  #obus = 0;
  #fragment: Uint8Array[] | undefined;
  #damaged = false;
  #sequenceHeaders = 0;
  /** Of the unit's first frame. */
  #keyframe: boolean | undefined;
  /** The last one, with its size, and whether its frames are still pictures. */
  #sequence: { readonly parts: readonly Uint8Array[]; readonly stillPictures: boolean } | undefined;

  add(packet: Pick<RtpPacket, 'payload'>): void {
    if (packet.payload.length === 0 || this.#damaged) return;
    const parsed = parseAv1Payload(packet.payload);
    if (parsed === undefined || parsed.continues !== (this.#fragment !== undefined)) {
      this.#damage();
      return;
    }
    const last = parsed.elements.length - 1;
    parsed.elements.forEach((element, index) => {
      const fragment = index === 0 ? this.#fragment : undefined;
      if (index === last && parsed.continued) {
        if (fragment === undefined) this.#fragment = [element];
        else fragment.push(element);
        return;
      }
      this.#fragment = undefined;
      this.#addObu(fragment === undefined ? element : Buffer.concat([...fragment, element]));
    });
  }

  finish(): DepacketizedUnit {
    const sequence = this.#sequenceHeaders > 0 ? [] : this.#sequence?.parts;
    const damaged = this.#damaged || this.#fragment !== undefined || this.#keyframe === undefined;
    const keyframe = this.#keyframe === true && sequence !== undefined;
    const parts = [TEMPORAL_DELIMITER, ...(keyframe ? sequence : []), ...this.#parts];
    this.reset();
    return damaged ? 'damaged' : { data: Buffer.concat(parts), keyframe };
  }

  /** Forgets the unit in progress, not the sequence header. */
  reset(): void {
    this.#parts = [];
    this.#obus = 0;
    this.#fragment = undefined;
    this.#damaged = false;
    this.#sequenceHeaders = 0;
    this.#keyframe = undefined;
  }

  #damage(): void {
    this.#damaged = true;
    this.#parts = [];
    this.#fragment = undefined;
  }

  #addObu(obu: Uint8Array): void {
    const header = parseObuHeader(obu);
    const sized = header === undefined ? undefined : sizedObu(obu, header);
    this.#obus += 1;
    if (header === undefined || sized === undefined || this.#obus > MAX_OBUS) {
      this.#damage();
      return;
    }
    const { type } = header;
    // Section 5: delimiters and tile lists are not sent, and are ignored where they are.
    if (type === OBU.temporalDelimiter || type === OBU.tileList || type === OBU.padding) return;
    if (header.spatialLayer > 0) return;
    if (type === OBU.sequenceHeader && !this.#remember(sized)) {
      this.#damage();
      return;
    }
    if (type === OBU.frame || type === OBU.frameHeader) {
      this.#keyframe ??= isShownKeyframe(sized[1], this.#sequence?.stillPictures ?? false);
    }
    this.#parts.push(...sized);
  }

  /** Copied, for the packet that it is a view on need not live as long. @returns false: it is none, or one too many */
  #remember(sized: readonly [Uint8Array, Uint8Array]): boolean {
    this.#sequenceHeaders += 1;
    if (this.#sequenceHeaders > MAX_SEQUENCE_HEADERS || sized[1].length > MAX_SEQUENCE_HEADER_BYTES) return false;
    const header = parseSequenceHeader(sized[1]);
    if (header === undefined) return false;
    const { stillPictures } = header;
    this.#sequence = { parts: sized.map((part) => Uint8Array.from(part)), stillPictures };
    return true;
  }
}
