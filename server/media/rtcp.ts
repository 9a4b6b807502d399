import { low32 } from './rtp.ts';

/** RTCP (RFC 3550 section 6, RFC 4585, RFC 5104, draft-alvestrand-rmcat-remb-03), as plain values. */

export interface ReportBlock {
  readonly ssrc: number;
  /** 0..1 since the previous report. */
  readonly fractionLost: number;
  /** Signed 24 bits. */
  readonly packetsLost: number;
  /** Extended highest sequence number. */
  readonly highestSequence: number;
  /** RTP timestamp units. */
  readonly jitter: number;
  /** Middle 32 bits of the last sender report's NTP time; 0 if none. */
  readonly lastReport: number;
  /** 1/65536 s since that report. */
  readonly delaySinceReport: number;
}

export type RtcpMessage =
  | {
      readonly kind: 'senderReport';
      readonly ssrc: number;
      /** Microseconds since 1900. */
      readonly ntpUs: number;
      readonly ntpMiddle: number;
      readonly rtpTimestamp: number;
      readonly packetCount: number;
      readonly octetCount: number;
      readonly reports: readonly ReportBlock[];
    }
  | { readonly kind: 'receiverReport'; readonly ssrc: number; readonly reports: readonly ReportBlock[] }
  | { readonly kind: 'nack'; readonly mediaSsrc: number; readonly sequenceNumbers: readonly number[] }
  | { readonly kind: 'pictureLoss'; readonly mediaSsrc: number }
  | { readonly kind: 'fullIntraRequest'; readonly mediaSsrcs: readonly number[] }
  | { readonly kind: 'remb'; readonly bitrateBps: number; readonly ssrcs: readonly number[] }
  | { readonly kind: 'transportFeedback'; readonly packet: Buffer }
  | { readonly kind: 'bye'; readonly ssrcs: readonly number[] };

const SR = 200;
const RR = 201;
const SDES = 202;
const BYE = 203;
const RTPFB = 205;
const PSFB = 206;
/** A REMB's identifier (draft-alvestrand-rmcat-remb-03 section 2.2). */
const REMB_ID = 0x52454d42;

/** Parts of a compound packet that are read. Browsers send up to six. */
const MAX_PARTS = 32;
/** Entries read of one NACK (17 sequence numbers each), FIR, REMB or BYE. */
const MAX_ENTRIES = 256;

/**
 * Reads a compound packet. Unknown and malformed parts are skipped; what follows a part with a wrong length is ignored.
 * Never throws. Worst case: 32 parts with 256 entries or 31 report blocks each, however large the packet.
 */
export function parseRtcp(data: Buffer): RtcpMessage[] {
  const messages: RtcpMessage[] = [];
  for (let offset = 0, parts = 0; offset + 4 <= data.length && parts < MAX_PARTS; parts += 1) {
    const first = data[offset] as number;
    const length = (data.readUInt16BE(offset + 2) + 1) * 4;
    if (first >> 6 !== 2 || offset + length > data.length) break;
    const part = data.subarray(offset, offset + length);
    const message = parsePart(part, first & 0x1f, part[1] as number);
    if (message !== undefined) messages.push(message);
    offset += length;
  }
  return messages;
}

function parsePart(part: Buffer, count: number, type: number): RtcpMessage | undefined {
  if (type === SR && part.length >= 28) {
    const seconds = part.readUInt32BE(8);
    const fraction = part.readUInt32BE(12);
    return {
      kind: 'senderReport',
      ssrc: part.readUInt32BE(4),
      ntpUs: seconds * 1e6 + (fraction * 1e6) / 2 ** 32,
      ntpMiddle: part.readUInt32BE(10),
      rtpTimestamp: part.readUInt32BE(16),
      packetCount: part.readUInt32BE(20),
      octetCount: part.readUInt32BE(24),
      reports: parseReports(part, 28, count),
    };
  }
  if (type === RR && part.length >= 8) {
    return { kind: 'receiverReport', ssrc: part.readUInt32BE(4), reports: parseReports(part, 8, count) };
  }
  if (type === BYE) {
    const ssrcs: number[] = [];
    for (let index = 0; index < count && 8 + index * 4 <= part.length; index += 1) {
      ssrcs.push(part.readUInt32BE(4 + index * 4));
    }
    return { kind: 'bye', ssrcs };
  }
  if (type === RTPFB && part.length >= 12) {
    if (count === 15) return { kind: 'transportFeedback', packet: part };
    if (count === 1) {
      return { kind: 'nack', mediaSsrc: part.readUInt32BE(8), sequenceNumbers: parseNack(part) };
    }
  }
  if (type === PSFB && part.length >= 12) {
    if (count === 1) return { kind: 'pictureLoss', mediaSsrc: part.readUInt32BE(8) };
    if (count === 4) {
      const mediaSsrcs: number[] = [];
      for (let at = 12; at + 8 <= part.length && mediaSsrcs.length < MAX_ENTRIES; at += 8)
        mediaSsrcs.push(part.readUInt32BE(at));
      return { kind: 'fullIntraRequest', mediaSsrcs };
    }
    if (count === 15) return parseRemb(part);
  }
  return undefined;
}

function parseReports(part: Buffer, start: number, count: number): ReportBlock[] {
  const reports: ReportBlock[] = [];
  for (let index = 0, at = start; index < count && at + 24 <= part.length; index += 1, at += 24) {
    reports.push({
      ssrc: part.readUInt32BE(at),
      fractionLost: (part[at + 4] as number) / 256,
      packetsLost: part.readIntBE(at + 5, 3),
      highestSequence: part.readUInt32BE(at + 8),
      jitter: part.readUInt32BE(at + 12),
      lastReport: part.readUInt32BE(at + 16),
      delaySinceReport: part.readUInt32BE(at + 20),
    });
  }
  return reports;
}

function parseNack(part: Buffer): number[] {
  const numbers: number[] = [];
  const end = Math.min(part.length, 12 + 4 * MAX_ENTRIES);
  for (let at = 12; at + 4 <= end; at += 4) {
    const first = part.readUInt16BE(at);
    const mask = part.readUInt16BE(at + 2);
    numbers.push(first);
    for (let bit = 0; bit < 16; bit += 1) if ((mask & (1 << bit)) !== 0) numbers.push((first + bit + 1) & 0xffff);
  }
  return numbers;
}

function parseRemb(part: Buffer): RtcpMessage | undefined {
  if (part.length < 20 || part.readUInt32BE(12) !== REMB_ID) return undefined;
  const ssrcs: number[] = [];
  const count = part[16] as number;
  for (let index = 0; index < count && 24 + index * 4 <= part.length; index += 1) {
    ssrcs.push(part.readUInt32BE(20 + index * 4));
  }
  const exponent = (part[17] as number) >> 2;
  const mantissa = (((part[17] as number) & 3) << 16) | part.readUInt16BE(18);
  return { kind: 'remb', bitrateBps: mantissa * 2 ** exponent, ssrcs };
}

export interface SenderReportFields {
  readonly ssrc: number;
  /** Microseconds since 1900, any sign: the low 32 bits of the seconds are sent. */
  readonly ntpUs: number;
  readonly rtpTimestamp: number;
  readonly packetCount: number;
  readonly octetCount: number;
}

export function buildSenderReport(fields: SenderReportFields): Buffer {
  const packet = Buffer.alloc(28);
  writeHeader(packet, 0, SR);
  packet.writeUInt32BE(fields.ssrc, 4);
  const seconds = Math.floor(fields.ntpUs / 1e6);
  packet.writeUInt32BE(low32(seconds), 8); // times before 1900 are some publisher's nonsense, forwarded
  packet.writeUInt32BE(Math.min(2 ** 32 - 1, Math.floor(((fields.ntpUs - seconds * 1e6) / 1e6) * 2 ** 32)), 12);
  packet.writeUInt32BE(fields.rtpTimestamp, 16);
  packet.writeUInt32BE(fields.packetCount % 2 ** 32, 20);
  packet.writeUInt32BE(fields.octetCount % 2 ** 32, 24);
  return packet;
}

export function buildReceiverReport(ssrc: number, reports: readonly ReportBlock[]): Buffer {
  const packet = Buffer.alloc(8 + reports.length * 24);
  writeHeader(packet, reports.length, RR);
  packet.writeUInt32BE(ssrc, 4);
  reports.forEach((report, index) => {
    const at = 8 + index * 24;
    packet.writeUInt32BE(report.ssrc, at);
    packet[at + 4] = Math.min(255, Math.max(0, Math.round(report.fractionLost * 256)));
    packet.writeIntBE(Math.max(-0x800000, Math.min(0x7fffff, report.packetsLost)), at + 5, 3);
    packet.writeUInt32BE(report.highestSequence % 2 ** 32, at + 8);
    packet.writeUInt32BE(Math.min(2 ** 32 - 1, Math.round(report.jitter)), at + 12);
    packet.writeUInt32BE(report.lastReport, at + 16);
    packet.writeUInt32BE(report.delaySinceReport, at + 20);
  });
  return packet;
}

/** CNAME only (RFC 3550 section 6.5.1); every compound packet of a WebRTC endpoint carries it. */
export function buildSourceDescription(ssrc: number, cname: string): Buffer {
  const text = Buffer.from(cname, 'utf8').subarray(0, 255);
  const length = (8 + 2 + text.length + 1 + 3) & ~3;
  const packet = Buffer.alloc(length);
  writeHeader(packet, 1, SDES);
  packet.writeUInt32BE(ssrc, 4);
  packet[8] = 1;
  packet[9] = text.length;
  text.copy(packet, 10);
  return packet;
}

/** Generic NACK (RFC 4585 section 6.2.1). @param sequenceNumbers 16 bits each, in ascending order modulo 2^16 */
export function buildNack(senderSsrc: number, mediaSsrc: number, sequenceNumbers: readonly number[]): Buffer {
  const pairs: [number, number][] = [];
  for (const sequenceNumber of sequenceNumbers) {
    const last = pairs.at(-1);
    const ahead = last === undefined ? 0 : (sequenceNumber - last[0] + 0x10000) & 0xffff;
    if (last !== undefined && ahead >= 1 && ahead <= 16) last[1] |= 1 << (ahead - 1);
    else pairs.push([sequenceNumber & 0xffff, 0]);
  }
  const packet = Buffer.alloc(12 + pairs.length * 4);
  writeHeader(packet, 1, RTPFB);
  packet.writeUInt32BE(senderSsrc, 4);
  packet.writeUInt32BE(mediaSsrc, 8);
  pairs.forEach(([first, mask], index) => {
    packet.writeUInt16BE(first, 12 + index * 4);
    packet.writeUInt16BE(mask, 14 + index * 4);
  });
  return packet;
}

/** PLI (RFC 4585 section 6.3.1). */
export function buildPictureLoss(senderSsrc: number, mediaSsrc: number): Buffer {
  const packet = Buffer.alloc(12);
  writeHeader(packet, 1, PSFB);
  packet.writeUInt32BE(senderSsrc, 4);
  packet.writeUInt32BE(mediaSsrc, 8);
  return packet;
}

/** Version, count or format, type and the length in words minus one, from the packet's own size. */
export function writeHeader(packet: Buffer, count: number, type: number): void {
  packet[0] = 0x80 | count;
  packet[1] = type;
  packet.writeUInt16BE(packet.length / 4 - 1, 2);
}

export const RTCP_RTPFB = RTPFB;

/** Microseconds between 1900 (NTP) and 1970 (Unix). */
export const NTP_EPOCH_OFFSET_US = 2_208_988_800 * 1e6;
