import { RTCP_RTPFB, writeHeader } from './rtcp.ts';
import { Unwrapper } from './sequence.ts';
import type { MonotonicUs } from './types.ts';

/**
 * Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01): when each packet
 * arrived, so that the sender's estimator sees queues grow before they overflow.
 */

export const DELTA_UNIT_US = 250;
export const REFERENCE_UNIT_US = 64_000;
/** Feedback about more packets at once than this is split: the packet stays well under the MTU. */
const MAX_STATUSES = 400;
/** Of a wider gap only the last so many packets are reported as lost: the sender's estimator has seen enough by then. */
const MAX_REPORTED_GAP = 400;
/** Arrivals further behind the reported ones are not reported (the sender has forgotten them). */
const MAX_BEHIND = 0x2000;
/** Arrivals held between two builds, 50 ms apart: 80 000 packets/s. More are not reported. */
const MAX_PENDING = 4096;
/** Feedback packets of one build. Honest streams need one, after an outage two; a stream of gaps would need one a packet. */
const MAX_PACKETS = 16;

export const NOT_RECEIVED = 0;
export const SMALL_DELTA = 1;
export const LARGE_DELTA = 2;

interface Arrival {
  readonly sequence: number;
  readonly atUs: MonotonicUs;
}

/**
 * Worst case, whatever sequence numbers arrive: onPacket() costs O(1); build() sorts at most 4096 arrivals once and writes at
 * most 16 packets of at most 800 statuses each. Arrivals beyond that are dropped and counted.
 */
export class TransportFeedbackBuilder {
  readonly #unwrapper = new Unwrapper(16);
  readonly #arrivals = new Map<number, MonotonicUs>();
  /** First sequence the next feedback reports on. */
  #next: number | undefined;
  #count = 0;
  #dropped = 0;

  get pending(): number {
    return this.#arrivals.size;
  }

  /** Arrivals that no feedback reports. */
  get dropped(): number {
    return this.#dropped;
  }

  /** @param sequenceNumber the header extension's 16 bits */
  onPacket(sequenceNumber: number, arrivedAtUs: MonotonicUs): void {
    const sequence = this.#unwrapper.unwrap(sequenceNumber);
    const tooOld = this.#next !== undefined && sequence < this.#next - MAX_BEHIND;
    if (tooOld || this.#arrivals.size >= MAX_PENDING) this.#dropped += 1;
    else if (!this.#arrivals.has(sequence)) this.#arrivals.set(sequence, arrivedAtUs);
  }

  /** All feedback that is due: usually one packet, several after a burst, none without arrivals. */
  build(senderSsrc: number, mediaSsrc: number): Buffer[] {
    if (this.#arrivals.size === 0) return [];
    const arrivals = Array.from(this.#arrivals, ([sequence, atUs]): Arrival => ({ sequence, atUs }));
    this.#arrivals.clear();
    arrivals.sort((a, b) => a.sequence - b.sequence);
    const packets: Buffer[] = [];
    let at = 0;
    while (at < arrivals.length && packets.length < MAX_PACKETS) {
      const feedback = this.#buildOne(senderSsrc, mediaSsrc, arrivals, at);
      packets.push(feedback.packet);
      at = feedback.end;
      this.#next = Math.max(this.#next ?? 0, feedback.next);
      this.#count = (this.#count + 1) & 0xff;
    }
    this.#dropped += arrivals.length - at;
    return packets;
  }

  /**
   * @param arrivals in ascending order; those before `at` are reported
   * @returns the packet, the first arrival it does not report, and the first sequence number behind it
   */
  #buildOne(
    senderSsrc: number,
    mediaSsrc: number,
    arrivals: readonly Arrival[],
    at: number,
  ): { packet: Buffer; end: number; next: number } {
    const first = arrivals[at] as Arrival;
    // A packet that comes after it was reported as lost gets separate feedback, which corrects the report.
    const base = Math.min(first.sequence, Math.max(this.#next ?? first.sequence, first.sequence - MAX_REPORTED_GAP));
    const reference = Math.floor(first.atUs / REFERENCE_UNIT_US);
    // The first delta counts from the floored reference itself; what rounding leaves is carried, not lost.
    let clockUs = reference * REFERENCE_UNIT_US;
    const statuses: number[] = [];
    const deltas: number[] = [];
    let deltaBytes = 0;
    let expected = base;
    let end = at;
    for (; end < arrivals.length; end += 1) {
      const { sequence, atUs } = arrivals[end] as Arrival;
      if (deltas.length > 0 && sequence - base >= MAX_STATUSES) break;
      // Numbers in between have been reported before, maybe as received: nothing is said about them again.
      if (deltas.length > 0 && expected < (this.#next ?? 0) && sequence > expected) break;
      const delta = Math.round((atUs - clockUs) / DELTA_UNIT_US);
      if (delta < -0x8000 || delta > 0x7fff) break; // over 8 s apart: needs another reference time
      for (; expected < sequence; expected += 1) statuses.push(NOT_RECEIVED);
      const status = delta >= 0 && delta <= 0xff ? SMALL_DELTA : LARGE_DELTA;
      statuses.push(status);
      deltas.push(delta);
      deltaBytes += status;
      clockUs += delta * DELTA_UNIT_US;
      expected += 1;
    }
    const packet = this.#write(senderSsrc, mediaSsrc, { base, reference, statuses, deltas, deltaBytes });
    return { packet, end, next: expected };
  }

  #write(
    senderSsrc: number,
    mediaSsrc: number,
    feedback: {
      readonly base: number;
      readonly reference: number;
      readonly statuses: readonly number[];
      readonly deltas: readonly number[];
      readonly deltaBytes: number;
    },
  ): Buffer {
    const { base, reference, statuses, deltas, deltaBytes } = feedback;
    const chunks = encodeChunks(statuses);
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
    return packet;
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
