import { randomInt } from 'node:crypto';
import { NTP_EPOCH_OFFSET_US, buildSenderReport, type ReportBlock } from '../media/rtcp.ts';
import { buildRtpHeader, low32 } from '../media/rtp.ts';
import { VIDEO_CLOCK_HZ, type MediaTime, type MonotonicUs } from '../media/types.ts';
import type { PeerTransport } from './secure-transport.ts';
import { randomSsrcs, type StreamSsrcs } from './ssrc.ts';

/** Packets kept for retransmission: 1 s at 4 Mbit/s, keyframe bursts included. A power of two. */
const HISTORY_PACKETS = 512;
const MIN_RESEND_INTERVAL_US = 15_000;
const REPORT_MEMORY = 8;
/** Reports that come more often are measured together. */
const MIN_DELIVERY_US = 200_000;
/** Retransmissions a viewer may cause: half of what is sent, and a burst. More is a broken or hostile viewer. */
const RESENDS_PER_PACKET = 0.5;
const RESEND_BURST = 200;

interface HistorySlot {
  index: number;
  payloadType: number;
  rtxPayloadType: number | undefined;
  marker: boolean;
  timestamp: number;
  payload: Uint8Array;
  colourSpace: Uint8Array | undefined;
  sentAtUs: MonotonicUs;
}

/** One packet as the viewer's track gives it; header fields it lacks are the stream's. */
export interface OutgoingPacket {
  readonly payloadType: number;
  /** undefined: the viewer takes no RTX, retransmissions repeat the packet as it was. */
  readonly rtxPayloadType: number | undefined;
  readonly marker: boolean;
  /** In this track's clock, any size: the low 32 bits are sent. */
  readonly timestamp: number;
  readonly mediaTime: MediaTime;
  readonly payload: Uint8Array;
  /** Of the color-space header extension; sent if the viewer takes that and the value has the form without HDR metadata. */
  readonly colourSpace?: Uint8Array | undefined;
}

/** Ids the viewer's offer gave; undefined ones it does not take. */
export interface ExtensionIds {
  readonly absoluteSendTimeId: number | undefined;
  readonly colourSpaceId: number | undefined;
}

/** Headers of one SSRC, rewritten for each packet (SRTP copies them). */
interface Headers {
  readonly plain: Buffer;
  /** As plain, with the color-space extension at its end. */
  readonly coloured: Buffer | undefined;
}

const COLOUR_SPACE_BYTES = 4;
/** Id and length, the value, padding to whole words. */
const COLOUR_SPACE_ROOM = 8;

export type RtpSender = Pick<PeerTransport, 'sendRtp'>;

const EMPTY = new Uint8Array(0);

/**
 * One outgoing RTP stream of one viewer: its own header over shared payloads, sequence numbers without gaps that are
 * not real losses, retransmission (RFC 4588) and sender reports.
 */
export class SendStream {
  readonly ssrc: number;
  readonly rtxSsrc: number;
  readonly #transport: RtpSender;
  readonly #clockHz: number;
  readonly #absoluteSendTime: boolean;
  readonly #headers: Headers;
  readonly #rtxHeaders: Headers;
  readonly #history: HistorySlot[] = [];
  /** SRTP index (unwrapped sequence number) of the next packet; starts below 2^15 so that the first wrap is far. */
  #next = randomInt(1, 0x8000);
  #rtxNext = randomInt(1, 0x8000);
  #last: { mediaTime: MediaTime; timestamp: number; atUs: MonotonicUs } | undefined;
  readonly #reports: { middle: number; atUs: MonotonicUs }[] = [];
  #packets = 0;
  #octets = 0;
  #resendBudget = RESEND_BURST;
  roundTripMs: number | undefined;
  fractionLost = 0;
  reportedAtUs: MonotonicUs | undefined;
  /** Payload that arrived between the last two reports, bit/s: packets as the receiver counts them, sizes as they were sent. */
  deliveredBps: number | undefined;
  /** Packets sent again between the same two reports, as a share of the new ones. */
  resentShare = 0;
  #delivered: { received: number; packets: number; octets: number; resent: number; atUs: MonotonicUs } | undefined;
  nacksReceived = 0;
  retransmitted = 0;

  /** @param ssrcs those that our offer announced; left out, random ones */
  constructor(transport: RtpSender, clockHz: number, ids: ExtensionIds, ssrcs: StreamSsrcs = randomSsrcs()) {
    this.ssrc = ssrcs.ssrc;
    this.rtxSsrc = ssrcs.rtxSsrc;
    this.#transport = transport;
    this.#clockHz = clockHz;
    this.#absoluteSendTime = ids.absoluteSendTimeId !== undefined;
    this.#headers = createHeaders(this.ssrc, ids);
    this.#rtxHeaders = createHeaders(this.rtxSsrc, ids);
  }

  /** The index the next packet of a stream without gaps gets. */
  get next(): number {
    return this.#next;
  }

  get packets(): number {
    return this.#packets;
  }

  /**
   * @param index `next`, or further on to leave a real gap, or a little before it for a reordered packet
   * @returns bytes on the wire
   */
  send(packet: OutgoingPacket, index: number, nowUs: MonotonicUs): number {
    const { payloadType, timestamp, payload } = packet;
    if (index >= this.#next) this.#next = index + 1;
    if (this.#last === undefined || packet.mediaTime >= this.#last.mediaTime) {
      this.#last = { mediaTime: packet.mediaTime, timestamp, atUs: nowUs };
    }
    this.#packets += 1;
    this.#resendBudget = Math.min(RESEND_BURST, this.#resendBudget + RESENDS_PER_PACKET);
    this.#octets += payload.length;
    this.#remember(index, packet, nowUs);
    const header = this.#fill(this.#headers, payloadType, packet, index, nowUs);
    return this.#transport.sendRtp(header, payload, this.ssrc, index);
  }

  /** Answers a generic NACK. @returns bytes on the wire */
  resend(sequenceNumbers: readonly number[], nowUs: MonotonicUs): number {
    let bytes = 0;
    this.nacksReceived += sequenceNumbers.length;
    const interval = Math.max(MIN_RESEND_INTERVAL_US, (this.roundTripMs ?? 0) * 1000);
    for (const sequenceNumber of sequenceNumbers) {
      if (this.#resendBudget < 1) break;
      const newest = this.#next - 1;
      const index = newest - ((newest - sequenceNumber) & 0xffff);
      const slot = this.#history[index & (HISTORY_PACKETS - 1)];
      // Asked again before the first answer could arrive, or no longer kept.
      if (slot === undefined || slot.index !== index || nowUs - slot.sentAtUs < interval) continue;
      slot.sentAtUs = nowUs;
      this.retransmitted += 1;
      this.#resendBudget -= 1;
      if (slot.rtxPayloadType === undefined) {
        const header = this.#fill(this.#headers, slot.payloadType, slot, index, nowUs);
        bytes += this.#transport.sendRtp(header, slot.payload, this.ssrc, index);
        continue;
      }
      const rtxIndex = this.#rtxNext++;
      const payload = Buffer.allocUnsafe(2 + slot.payload.length);
      payload.writeUInt16BE(sequenceNumber, 0);
      payload.set(slot.payload, 2);
      const header = this.#fill(this.#rtxHeaders, slot.rtxPayloadType, slot, rtxIndex, nowUs);
      bytes += this.#transport.sendRtp(header, payload, this.rtxSsrc, rtxIndex);
    }
    return bytes;
  }

  /**
   * The wall clock of the report is the media time line, not the time of sending: audio and video of one publisher then
   * align exactly at the viewer however long each took on its way through here.
   * @param mediaOriginUs microseconds since 1970 at media time 0, the same for all tracks of a viewer
   */
  report(mediaOriginUs: number, nowUs: MonotonicUs): Buffer | undefined {
    if (this.#last === undefined) return undefined;
    const sinceUs = nowUs - this.#last.atUs;
    const ntpUs = NTP_EPOCH_OFFSET_US + mediaOriginUs + (this.#last.mediaTime * 1e6) / VIDEO_CLOCK_HZ + sinceUs;
    const packet = buildSenderReport({
      ssrc: this.ssrc,
      ntpUs,
      rtpTimestamp: low32(Math.round(this.#last.timestamp + (sinceUs * this.#clockHz) / 1e6)),
      packetCount: this.#packets,
      octetCount: this.#octets,
    });
    this.#reports.push({ middle: packet.readUInt32BE(10), atUs: nowUs });
    if (this.#reports.length > REPORT_MEMORY) this.#reports.shift();
    return packet;
  }

  /** RFC 3550 section 6.4.1: round trip = arrival - DLSR - sending of the report named by LSR. */
  onReceiverReport(block: ReportBlock, nowUs: MonotonicUs): void {
    this.fractionLost = block.fractionLost;
    this.reportedAtUs = nowUs;
    this.#measureDelivery(block.highestSequence - block.packetsLost, nowUs);
    const sent = this.#reports.find((report) => report.middle === block.lastReport);
    if (sent === undefined) return;
    const roundTripMs = Math.max(0, (nowUs - sent.atUs) / 1000 - (block.delaySinceReport * 1000) / 65536);
    this.roundTripMs = this.roundTripMs === undefined ? roundTripMs : this.roundTripMs * 0.8 + roundTripMs * 0.2;
  }

  #measureDelivery(received: number, nowUs: MonotonicUs): void {
    const [before, packets, octets] = [this.#delivered, this.#packets, this.#octets];
    if (before !== undefined && nowUs - before.atUs < MIN_DELIVERY_US) return;
    this.#delivered = { received, packets, octets, resent: this.retransmitted, atUs: nowUs };
    if (before === undefined || packets === before.packets) return;
    const sent = packets - before.packets;
    // A receiver that reports more than it was sent is not believed.
    const arrived = Math.min(sent, Math.max(0, received - before.received));
    const bits = (8 * arrived * (octets - before.octets)) / sent;
    this.deliveredBps = bits / ((nowUs - before.atUs) / 1e6);
    this.resentShare = (this.retransmitted - before.resent) / sent;
  }

  /** Lets go of payloads. */
  clear(): void {
    this.#history.length = 0;
  }

  #remember(index: number, packet: OutgoingPacket, nowUs: MonotonicUs): void {
    const at = index & (HISTORY_PACKETS - 1);
    let slot = this.#history[at];
    if (slot === undefined) {
      slot = this.#history[at] = {
        index: -1,
        payloadType: 0,
        rtxPayloadType: undefined,
        marker: false,
        timestamp: 0,
        payload: EMPTY,
        colourSpace: undefined,
        sentAtUs: 0,
      };
    }
    slot.index = index;
    slot.payloadType = packet.payloadType;
    slot.rtxPayloadType = packet.rtxPayloadType;
    slot.marker = packet.marker;
    slot.timestamp = packet.timestamp;
    slot.payload = packet.payload;
    slot.colourSpace = packet.colourSpace;
    slot.sentAtUs = nowUs - MIN_RESEND_INTERVAL_US; // a NACK right after sending is a real loss
  }

  #fill(
    { plain, coloured }: Headers,
    payloadType: number,
    { marker, timestamp, colourSpace }: Pick<OutgoingPacket, 'marker' | 'timestamp' | 'colourSpace'>,
    index: number,
    nowUs: MonotonicUs,
  ): Buffer {
    const carriesColour = coloured !== undefined && colourSpace?.length === COLOUR_SPACE_BYTES;
    const header = carriesColour ? coloured : plain;
    if (carriesColour) header.set(colourSpace, header.length - COLOUR_SPACE_ROOM + 1);
    header[1] = marker ? payloadType | 0x80 : payloadType;
    header[2] = (index >> 8) & 0xff;
    header[3] = index & 0xff;
    header.writeUInt32BE(low32(timestamp), 4);
    if (this.#absoluteSendTime) {
      // 24 bits, 6.18 fixed point seconds (abs-send-time).
      const value = Math.floor(((nowUs % 64_000_000) * 0x40000) / 1e6);
      header[17] = (value >> 16) & 0xff;
      header[18] = (value >> 8) & 0xff;
      header[19] = value & 0xff;
    }
    return header;
  }
}

function createHeaders(ssrc: number, { absoluteSendTimeId, colourSpaceId }: ExtensionIds): Headers {
  const sendTime = absoluteSendTimeId === undefined ? [] : [{ id: absoluteSendTimeId, value: new Uint8Array(3) }];
  const fields = { marker: false, payloadType: 0, sequenceNumber: 0, timestamp: 0, ssrc };
  if (colourSpaceId === undefined) return { plain: buildRtpHeader(fields, sendTime), coloured: undefined };
  const colourSpace = { id: colourSpaceId, value: new Uint8Array(COLOUR_SPACE_BYTES) };
  return {
    plain: buildRtpHeader(fields, sendTime),
    coloured: buildRtpHeader(fields, [...sendTime, colourSpace]),
  };
}
