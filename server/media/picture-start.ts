import { startsTemporalUnit } from './av1.ts';
import type { SourceCodec } from './types.ts';
import { parseVp8Descriptor } from './vp8.ts';
import { parseVp9Descriptor } from './vp9.ts';

/**
 * Whether a packet begins a picture, judged from its payload alone: after a loss in front of it this distinguishes a
 * whole picture from the tail of one. H264: a parameter set, AUD or SEI, or a slice whose first_mb_in_slice is 0 (its ue(v)
 * code is a single 1 bit, H.264 section 7.3.3).
 */
export function startsPicture(codec: SourceCodec, payload: Uint8Array): boolean {
  if (codec === 'VP8') {
    const descriptor = parseVp8Descriptor(payload);
    return descriptor !== undefined && descriptor.start && descriptor.partition === 0;
  }
  if (codec === 'VP9') {
    const descriptor = parseVp9Descriptor(payload);
    return descriptor !== undefined && descriptor.begins && descriptor.spatialLayer === 0;
  }
  if (codec === 'AV1') return startsTemporalUnit(payload);
  const type = (payload[0] ?? 0) & 0x1f;
  if (type === 28) {
    const header = payload[1] ?? 0;
    return (header & 0x80) !== 0 && startsWithUnit(header & 0x1f, payload[2]);
  }
  if (type === 24) return startsWithUnit((payload[3] ?? 0) & 0x1f, payload[4]);
  return startsWithUnit(type, payload[1]);
}

function startsWithUnit(type: number, next: number | undefined): boolean {
  if (type === 1 || type === 5) return next !== undefined && (next & 0x80) !== 0;
  return type >= 6 && type <= 9;
}
