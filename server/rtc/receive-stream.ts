import type { ReportBlock } from '../media/rtcp.ts';
import { Unwrapper } from '../media/sequence.ts';
import type { MonotonicUs } from '../media/types.ts';

let streams = 0;

/** Reception statistics of one SSRC for receiver reports (RFC 3550 section 6.4.1 and appendix A). */
export class ReceiveStream {
  /** Unique in the process; see ForwardPacket.stream. */
  readonly id = ++streams;
  readonly ssrc: number;
  readonly #clockHz: number;
  readonly #sequences = new Unwrapper(16);
  readonly #timestamps = new Unwrapper(32);
  #base: number | undefined;
  #received = 0;
  #jitter = 0;
  #transit: number | undefined;
  #reported = { expected: 0, received: 0 };
  #senderReport: { middle: number; atUs: MonotonicUs } | undefined;
  lastPacketUs: MonotonicUs = 0;

  constructor(ssrc: number, clockHz: number) {
    this.ssrc = ssrc;
    this.#clockHz = clockHz;
  }

  get received(): number {
    return this.#received;
  }

  get lost(): number {
    return Math.max(0, this.#expected - this.#received);
  }

  /** @returns the unwrapped sequence number */
  onPacket(sequenceNumber: number, timestamp: number, nowUs: MonotonicUs): number {
    const sequence = this.#sequences.unwrap(sequenceNumber);
    this.#base ??= sequence;
    this.#received += 1;
    this.lastPacketUs = nowUs;
    const transit = (nowUs * this.#clockHz) / 1e6 - this.#timestamps.unwrap(timestamp);
    if (this.#transit !== undefined) this.#jitter += (Math.abs(transit - this.#transit) - this.#jitter) / 16;
    this.#transit = transit;
    return sequence;
  }

  /** A retransmission repairs a loss: it is counted as received. @returns the unwrapped sequence number */
  onRepaired(sequenceNumber: number): number {
    this.#received += 1;
    return this.#sequences.peek(sequenceNumber);
  }

  /** Duplicates are not receptions. */
  onDuplicate(): void {
    this.#received -= 1;
  }

  onSenderReport(ntpMiddle: number, nowUs: MonotonicUs): void {
    this.#senderReport = { middle: ntpMiddle, atUs: nowUs };
  }

  unwrapTimestamp(timestamp: number): number {
    return this.#timestamps.peek(timestamp);
  }

  report(nowUs: MonotonicUs): ReportBlock {
    const expected = this.#expected;
    const expectedSince = expected - this.#reported.expected;
    const lostSince = expectedSince - (this.#received - this.#reported.received);
    this.#reported = { expected, received: this.#received };
    const report = this.#senderReport;
    return {
      ssrc: this.ssrc,
      fractionLost: expectedSince > 0 && lostSince > 0 ? lostSince / expectedSince : 0,
      packetsLost: expected - this.#received,
      highestSequence: this.#sequences.newest ?? 0,
      jitter: this.#jitter,
      lastReport: report?.middle ?? 0,
      delaySinceReport: report === undefined ? 0 : Math.round(((nowUs - report.atUs) * 65536) / 1e6) >>> 0,
    };
  }

  get #expected(): number {
    return this.#base === undefined ? 0 : (this.#sequences.newest ?? 0) - this.#base + 1;
  }
}
