import { startsCodedSequence, startsTemporalUnit } from './av1.ts';
import { NAL_IDR, NAL_SPS } from './h264-parameter-sets.ts';
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

/**
 * Whether a packet begins a keyframe: a stream that was held back can go on here. H264: a parameter set in front of an IDR, or its
 * first slice. Linear in the payload.
 */
export function startsKeyframe(codec: SourceCodec, payload: Uint8Array): boolean {
  switch (codec) {
    case 'VP8': {
      const descriptor = parseVp8Descriptor(payload);
      const tag = descriptor === undefined ? undefined : payload[descriptor.bytes];
      return startsPicture(codec, payload) && tag !== undefined && (tag & 1) === 0;
    }
    case 'VP9':
      return startsPicture(codec, payload) && parseVp9Descriptor(payload)?.interPredicted === false;
    case 'AV1':
      return startsCodedSequence(payload);
    case 'H264': {
      if (!startsPicture(codec, payload)) return false;
      const type = (payload[0] ?? 0) & 0x1f;
      const unit = type === 28 ? payload[1] : type === 24 ? payload[3] : type;
      return [NAL_IDR, NAL_SPS].includes((unit ?? 0) & 0x1f);
    }
  }
}
