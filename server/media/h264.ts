import type { RtpPacket } from './rtp.ts';

/** H264 over RTP (RFC 6184): single NAL unit packets, STAP-A and FU-A in both directions (packetization-mode 1). */

export const NAL_SLICE = 1;
export const NAL_IDR = 5;
export const NAL_SPS = 7;
export const NAL_PPS = 8;
export const NAL_AUD = 9;
const STAP_A = 24;
const FU_A = 28;
const START_CODE = Buffer.from([0, 0, 0, 1]);

/** NAL units of an Annex B stream (3 and 4 byte start codes), without start codes, as views. */
export function splitAnnexB(data: Uint8Array): Uint8Array[] {
  const units: Uint8Array[] = [];
  let start = -1;
  const length = data.length;
  let at = 0;
  while (at + 2 < length) {
    const third = data[at + 2] as number;
    if (third > 1) {
      at += 3;
    } else if (third === 1 && data[at] === 0 && data[at + 1] === 0) {
      if (start >= 0) push(units, data, start, at);
      start = at + 3;
      at += 3;
    } else {
      at += 1;
    }
  }
  if (start >= 0) push(units, data, start, length);
  return units;
}

/** Drops trailing zero bytes: they belong to the next start code or are padding (Annex B, trailing_zero_8bits). */
function push(units: Uint8Array[], data: Uint8Array, start: number, end: number): void {
  let last = end;
  while (last > start && data[last - 1] === 0) last -= 1;
  if (last > start) units.push(data.subarray(start, last));
}

/** Collects the packets of one access unit; the result is Annex B. Parameter sets are remembered across units. */
export class H264Depacketizer {
  #parts: Uint8Array[] = [];
  #fragment: Uint8Array[] | undefined;
  #keyframe = false;
  #damaged = false;
  #hasSps = false;
  #hasPps = false;
  #sps = new Map<number, Uint8Array>();
  #pps = new Map<number, Uint8Array>();

  /** Adds the next packet of the unit. Nonsense (a truncated aggregate, an orphan fragment) marks the unit damaged. */
  add(packet: Pick<RtpPacket, 'payload'>): void {
    const payload = packet.payload;
    if (payload.length === 0) return;
    const type = (payload[0] as number) & 0x1f;
    if (type === FU_A) {
      this.#addFragment(payload);
      return;
    }
    if (this.#fragment !== undefined) this.#damage();
    if (type === STAP_A) this.#addAggregate(payload);
    else if (type >= 1 && type <= 23) this.#addUnit(payload);
    else this.#damaged = true; // STAP-B, MTAP, FU-B belong to packetization-mode 2
  }

  /**
   * Ends the access unit. @returns undefined when it held nothing decodable or was damaged.
   * An IDR without parameter sets in its unit gets the remembered ones in front (RFC 6184 section 8.4: senders may send
   * them once, in their own packets).
   */
  finish(): { data: Buffer; keyframe: boolean } | undefined {
    const parts = this.#parts;
    const keyframe = this.#keyframe;
    const damaged = this.#damaged || this.#fragment !== undefined || parts.length === 0;
    const missingSps = !this.#hasSps;
    const missingPps = !this.#hasPps;
    this.reset();
    if (damaged) return undefined;
    if (keyframe) {
      const front: Uint8Array[] = [];
      if (missingSps) front.push(...this.#sps.values());
      if (missingPps) front.push(...this.#pps.values());
      parts.unshift(...front);
    }
    const chunks: Uint8Array[] = [];
    for (const part of parts) chunks.push(START_CODE, part);
    return { data: Buffer.concat(chunks), keyframe };
  }

  /** Forgets the unit in progress, not the parameter sets. */
  reset(): void {
    this.#parts = [];
    this.#fragment = undefined;
    this.#keyframe = false;
    this.#damaged = false;
    this.#hasSps = false;
    this.#hasPps = false;
  }

  #addFragment(payload: Buffer): void {
    if (payload.length < 3) {
      this.#damage();
      return;
    }
    const indicator = payload[0] as number;
    const header = payload[1] as number;
    if ((header & 0x80) !== 0) {
      if (this.#fragment !== undefined) this.#damage();
      this.#fragment = [Buffer.from([(indicator & 0xe0) | (header & 0x1f)])];
    }
    if (this.#fragment === undefined) {
      this.#damaged = true;
      return;
    }
    this.#fragment.push(payload.subarray(2));
    if ((header & 0x40) !== 0) {
      const unit = Buffer.concat(this.#fragment);
      this.#fragment = undefined;
      this.#addUnit(unit);
    }
  }

  #addAggregate(payload: Buffer): void {
    let offset = 1;
    while (offset < payload.length) {
      if (offset + 2 > payload.length) return this.#damage();
      const size = payload.readUInt16BE(offset);
      offset += 2;
      if (size === 0 || offset + size > payload.length) return this.#damage();
      this.#addUnit(payload.subarray(offset, offset + size));
      offset += size;
    }
  }

  #addUnit(unit: Uint8Array): void {
    const type = (unit[0] as number) & 0x1f;
    if (type === NAL_SPS) {
      this.#hasSps = true;
      remember(this.#sps, spsId(unit), unit);
    } else if (type === NAL_PPS) {
      this.#hasPps = true;
      remember(this.#pps, ppsId(unit), unit);
    } else if (type === NAL_IDR) {
      this.#keyframe = true;
    }
    this.#parts.push(unit);
  }

  #damage(): void {
    this.#fragment = undefined;
    this.#damaged = true;
  }
}

/** Copies: the unit is a view on a packet, and the set must outlive it. Ids are bounded by the standard (32 and 256). */
function remember(sets: Map<number, Uint8Array>, id: number | undefined, unit: Uint8Array): void {
  if (id !== undefined) sets.set(id, Uint8Array.from(unit));
}

/** seq_parameter_set_id follows profile_idc, constraint flags and level_idc (H.264 section 7.3.2.1.1). */
function spsId(unit: Uint8Array): number | undefined {
  const id = readUe(unit, 4 * 8);
  return id !== undefined && id < 32 ? id : undefined;
}

function ppsId(unit: Uint8Array): number | undefined {
  const id = readUe(unit, 8);
  return id !== undefined && id < 256 ? id : undefined;
}

/** Exp-Golomb ue(v) at a bit offset (H.264 section 9.1). */
function readUe(data: Uint8Array, bitOffset: number): number | undefined {
  const bit = (at: number) => (((data[at >> 3] ?? 0) >> (7 - (at & 7))) & 1) as 0 | 1;
  let zeros = 0;
  while (bit(bitOffset + zeros) === 0) {
    zeros += 1;
    if (zeros > 16 || bitOffset + zeros >= data.length * 8) return undefined;
  }
  let value = 0;
  for (let index = 0; index <= zeros; index += 1) value = value * 2 + bit(bitOffset + zeros + index);
  return value - 1;
}

/** Cuts an Annex B access unit into payloads of at most maxBytes: parameter sets and small units in STAP-A, large in FU-A. */
export function packetizeH264(data: Uint8Array, maxBytes: number): Buffer[] {
  const payloads: Buffer[] = [];
  let group: Uint8Array[] = [];
  let groupBytes = 1;
  const flush = () => {
    if (group.length === 1) payloads.push(Buffer.from(group[0] as Uint8Array));
    else if (group.length > 1) payloads.push(stapA(group, groupBytes));
    group = [];
    groupBytes = 1;
  };
  for (const unit of splitAnnexB(data)) {
    const type = (unit[0] as number) & 0x1f;
    if (type === NAL_AUD) continue; // RTP marks the unit's end itself
    if (unit.length > maxBytes) {
      flush();
      fragmentA(unit, maxBytes, payloads);
      continue;
    }
    if (groupBytes + 2 + unit.length > maxBytes) flush();
    group.push(unit);
    groupBytes += 2 + unit.length;
  }
  flush();
  return payloads;
}

function stapA(units: readonly Uint8Array[], bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(bytes);
  let importance = 0;
  let offset = 1;
  for (const unit of units) {
    importance = Math.max(importance, (unit[0] as number) & 0x60); // NRI is the maximum of the aggregated (section 5.7.1)
    payload.writeUInt16BE(unit.length, offset);
    payload.set(unit, offset + 2);
    offset += 2 + unit.length;
  }
  payload[0] = importance | STAP_A;
  return payload;
}

/** Fragments of equal size: the last one is not a tiny packet of its own. */
function fragmentA(unit: Uint8Array, maxBytes: number, payloads: Buffer[]): void {
  const first = unit[0] as number;
  const body = unit.length - 1;
  const count = Math.ceil(body / (maxBytes - 2));
  for (let index = 0; index < count; index += 1) {
    const start = 1 + Math.floor((body * index) / count);
    const end = 1 + Math.floor((body * (index + 1)) / count);
    const payload = Buffer.allocUnsafe(2 + end - start);
    payload[0] = (first & 0xe0) | FU_A;
    payload[1] = (index === 0 ? 0x80 : 0) | (index === count - 1 ? 0x40 : 0) | (first & 0x1f);
    payload.set(unit.subarray(start, end), 2);
    payloads.push(payload);
  }
}
