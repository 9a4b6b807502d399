import { RTCP_RTPFB, writeHeader } from './rtcp.ts';
import { Unwrapper } from './sequence.ts';
import type { MonotonicUs } from './types.ts';

/**
 * Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): when each packet
 * arrived, so that the sender's estimator sees queues grow before they overflow.
 */

const DELTA_UNIT_US = 250;
const REFERENCE_UNIT_US = 64_000;
/** Feedback about more packets at once than this is split: the packet stays well under the MTU. */
const MAX_STATUSES = 400;
/** Arrivals older than this relative to the newest reported are not reported again (the sender has forgotten them). */
const MAX_GAP = 0x2000;

const NOT_RECEIVED = 0;
const SMALL_DELTA = 1;
const LARGE_DELTA = 2;

export class TransportFeedbackBuilder {
  readonly #unwrapper = new Unwrapper(16);
  #arrivals = new Map<number, MonotonicUs>();
  /** First sequence the next feedback reports on. */
  #next: number | undefined;
  #count = 0;

  get pending(): number {
    return this.#arrivals.size;
  }

  /** @param sequenceNumber the header extension's 16 bits */
  onPacket(sequenceNumber: number, arrivedAtUs: MonotonicUs): void {
    const sequence = this.#unwrapper.unwrap(sequenceNumber);
    if (this.#next !== undefined && sequence < this.#next - MAX_GAP) return;
    if (!this.#arrivals.has(sequence)) this.#arrivals.set(sequence, arrivedAtUs);
  }

  /** All feedback that is due: usually one packet, several after a burst, none without arrivals. */
  build(senderSsrc: number, mediaSsrc: number): Buffer[] {
    const packets: Buffer[] = [];
    while (this.#arrivals.size > 0) {
      const sequences = [...this.#arrivals.keys()].sort((a, b) => a - b);
      const lowest = sequences[0] as number;
      // A packet that comes after it was reported as lost gets a feedback of its own, which corrects the report.
      const base = this.#next === undefined || lowest - this.#next > MAX_GAP ? lowest : Math.min(this.#next, lowest);
      const feedback = this.#buildOne(senderSsrc, mediaSsrc, base, sequences);
      packets.push(feedback.packet);
      this.#next = Math.max(this.#next ?? 0, feedback.next);
      this.#count = (this.#count + 1) & 0xff;
    }
    return packets;
  }

  #buildOne(
    senderSsrc: number,
    mediaSsrc: number,
    base: number,
    sequences: readonly number[],
  ): { packet: Buffer; next: number } {
    const firstArrival = this.#arrivals.get(sequences[0] as number) as number;
    const reference = Math.floor(firstArrival / REFERENCE_UNIT_US);
    // The first delta counts from the floored reference itself; what rounding leaves is carried, not lost.
    let clockUs = reference * REFERENCE_UNIT_US;
    const statuses: number[] = [];
    const deltas: number[] = [];
    let expected = base;
    for (const sequence of sequences) {
      if (sequence - base >= MAX_STATUSES && deltas.length > 0) break;
      // Numbers in between have been reported before, maybe as received: nothing is said about them again.
      if (expected < (this.#next ?? 0) && sequence > expected && deltas.length > 0) break;
      const arrivedAtUs = this.#arrivals.get(sequence) as number;
      const delta = Math.round((arrivedAtUs - clockUs) / DELTA_UNIT_US);
      if (delta < -0x8000 || delta > 0x7fff) break; // over 8 s apart: needs a reference of its own
      for (; expected < sequence; expected += 1) statuses.push(NOT_RECEIVED);
      statuses.push(delta >= 0 && delta <= 0xff ? SMALL_DELTA : LARGE_DELTA);
      deltas.push(delta);
      clockUs += delta * DELTA_UNIT_US;
      expected += 1;
      this.#arrivals.delete(sequence);
    }
    const chunks = encodeChunks(statuses);
    const deltaBytes = statuses.reduce((sum, status) => sum + status, 0);
    const length = 20 + chunks.length * 2 + deltaBytes;
    const padded = (length + 3) & ~3;
    const packet = Buffer.alloc(padded);
    writeHeader(packet, 15, RTCP_RTPFB);
    if (padded > length) {
      packet[0] = (packet[0] as number) | 0x20; // the padding bit; the last byte counts it (RFC 3550 section 6.4.1)
      packet[padded - 1] = padded - length;
    }
    packet.writeUInt32BE(senderSsrc, 4);
    packet.writeUInt32BE(mediaSsrc, 8);
    packet.writeUInt16BE(base & 0xffff, 12);
    packet.writeUInt16BE(statuses.length, 14);
    // 24 bits, signed on the wire but only differences matter to the receiver: it unwraps them.
    packet.writeUIntBE(((reference % 0x1000000) + 0x1000000) % 0x1000000, 16, 3);
    packet[19] = this.#count;
    let offset = 20;
    for (const chunk of chunks) offset = packet.writeUInt16BE(chunk, offset);
    let index = 0;
    for (const status of statuses) {
      if (status === SMALL_DELTA) offset = packet.writeUInt8(deltas[index++] as number, offset);
      else if (status === LARGE_DELTA) offset = packet.writeInt16BE(deltas[index++] as number, offset);
    }
    return { packet, next: expected };
  }
}

/** Run-length chunks for 14 and more equal symbols, otherwise vectors of 14 one-bit or 7 two-bit symbols (section 3.1). */
function encodeChunks(statuses: readonly number[]): number[] {
  const chunks: number[] = [];
  for (let at = 0; at < statuses.length;) {
    const symbol = statuses[at] as number;
    let run = 1;
    while (at + run < statuses.length && statuses[at + run] === symbol && run < 0x1fff) run += 1;
    if (run >= 14 || at + run === statuses.length) {
      chunks.push((symbol << 13) | run);
      at += run;
      continue;
    }
    const next14 = statuses.slice(at, at + 14);
    const oneBit = !next14.includes(LARGE_DELTA);
    const width = oneBit ? 14 : 7;
    let chunk = oneBit ? 0x8000 : 0xc000;
    for (let index = 0; index < width; index += 1) {
      const status = statuses[at + index] ?? NOT_RECEIVED;
      chunk |= oneBit ? status << (13 - index) : status << (2 * (6 - index));
    }
    chunks.push(chunk);
    at += width;
  }
  return chunks;
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
