import { MAX_UNIT_BYTES, type DepacketizedUnit, type Depacketizer } from './depacketizer.ts';
import { NAL_IDR, NAL_PPS, NAL_SPS, ParameterSets, slicePpsId } from './h264-parameter-sets.ts';
import type { RtpPacket } from './rtp.ts';

/** H264 over RTP (RFC 6184): single NAL unit packets, STAP-A and FU-A in both directions (packetization-mode 1). */

export const NAL_AUD = 9;
const STAP_A = 24;
const FU_A = 28;
const START_CODE = Buffer.from([0, 0, 0, 1]);
/** NAL units of one access unit. A 4K keyframe cut into a slice a packet has about 1000. */
const MAX_NAL_UNITS = 4096;
/** Parameter sets of one access unit that are remembered; encoders send two to four. */
const MAX_SETS_PER_UNIT = 64;

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

/**
 * Collects the packets of one access unit; the result is Annex B. Parameter sets are remembered across units.
 * Worst case: linear in the unit's bytes (two copies), which the assembler limits; at most 4096 NAL units; what goes in front
 * of an IDR is at most the 64 KiB that ParameterSets holds; the whole is at most MAX_UNIT_BYTES.
 */
export class H264Depacketizer implements Depacketizer {
  readonly #sets = new ParameterSets();
  #units: Uint8Array[] = [];
  #bytes = 0;
  #fragment: Uint8Array[] | undefined;
  #damaged = false;
  #oversize = false;
  readonly #sps = new Set<number>();
  readonly #pps = new Set<number>();
  /** PPS that the unit's IDR slices refer to; undefined: it has no IDR slice. */
  #idrPps: Set<number> | undefined;
  #setsInUnit = 0;

  /** Parameter sets that were too large or too many to remember. */
  get refusedParameterSets(): number {
    return this.#sets.refused;
  }

  /** Adds the next packet of the unit. Nonsense (a truncated aggregate, an orphan fragment) marks the unit damaged. */
  add(packet: Pick<RtpPacket, 'payload'>): void {
    const payload = packet.payload;
    if (payload.length === 0 || this.#oversize) return;
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
   * Ends the access unit. An IDR without parameter sets in its unit gets those its slices refer to in front (RFC 6184
   * section 8.4: senders may send them once, in their own packets).
   */
  finish(): DepacketizedUnit {
    const front = this.#idrPps === undefined ? [] : this.#missingSets(this.#idrPps);
    const parts = front.length === 0 ? this.#units : [...front, ...this.#units];
    const bytes = front.reduce((sum, unit) => sum + unit.length + START_CODE.length, this.#bytes);
    const keyframe = this.#idrPps !== undefined;
    const oversize = this.#oversize || bytes > MAX_UNIT_BYTES;
    const damaged = this.#damaged || this.#fragment !== undefined || this.#units.length === 0;
    this.reset();
    if (oversize) return 'oversize';
    if (damaged) return 'damaged';
    const chunks: Uint8Array[] = [];
    for (const part of parts) chunks.push(START_CODE, part);
    return { data: Buffer.concat(chunks, bytes), keyframe };
  }

  /** Forgets the unit in progress, not the parameter sets. */
  reset(): void {
    this.#units = [];
    this.#bytes = 0;
    this.#fragment = undefined;
    this.#damaged = false;
    this.#oversize = false;
    this.#setsInUnit = 0;
    this.#sps.clear();
    this.#pps.clear();
    this.#idrPps = undefined;
  }

  #missingSets(idrPps: ReadonlySet<number>): Uint8Array[] {
    return this.#sets.neededFor(idrPps, { sps: this.#sps, pps: this.#pps });
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
    if (this.#units.length >= MAX_NAL_UNITS) {
      this.#oversize = true;
      this.#units = [];
      return;
    }
    this.#units.push(unit);
    this.#bytes += unit.length + START_CODE.length;
    const type = (unit[0] as number) & 0x1f;
    if (type === NAL_SPS || type === NAL_PPS) {
      if (this.#setsInUnit >= MAX_SETS_PER_UNIT) return;
      this.#setsInUnit += 1;
      const id = this.#sets.remember(unit);
      if (id !== undefined) (type === NAL_SPS ? this.#sps : this.#pps).add(id);
    } else if (type === NAL_IDR) {
      this.#idrPps ??= new Set();
      const id = slicePpsId(unit);
      if (id !== undefined) this.#idrPps.add(id);
    }
  }

  #damage(): void {
    this.#fragment = undefined;
    this.#damaged = true;
  }
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

/** Fragments of equal size: the last packet is not tiny. */
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
