import type { RtpPacket } from './rtp.ts';

/** More than any picture of a live source needs; past it the sender is broken or hostile. */
export const MAX_UNIT_BYTES = 4 * 1024 * 1024;
/** Packets of one access unit: MAX_UNIT_BYTES in packets of 512 bytes. */
export const MAX_UNIT_PACKETS = 8192;

/** One complete unit, or why there is none: a part is missing or malformed, or it is larger than any real picture. */
export type DepacketizedUnit = { readonly data: Buffer; readonly keyframe: boolean } | 'damaged' | 'oversize';

/** Joins the packets of one access unit. One instance per stream, for it may remember what later units need. */
export interface Depacketizer {
  add(packet: Pick<RtpPacket, 'payload'>): void;
  finish(): DepacketizedUnit;
  /** Forgets the unit in progress. */
  reset(): void;
}
