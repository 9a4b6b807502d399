import type { FrameTrace } from './steps.ts';

/** The currency of the media path: what travels between receive and rewrite. Types and constants only. */

export type SourceCodec = 'H264' | 'VP8' | 'VP9' | 'AV1';
export type ResultCodec = 'H264' | 'VP8';

/** Ticks of the RTP video clock (RFC 6184 section 8.2.1, RFC 7741 section 6.1). */
export const VIDEO_CLOCK_HZ = 90_000;
export const AUDIO_CLOCK_HZ = 48_000;

/**
 * Presentation time of a picture in 1/90000 s: the publisher's RTP timestamp, unwrapped to a number that never wraps
 * (2^53 ticks are three thousand years). It enters at assemble and leaves at rewrite unchanged.
 */
export type MediaTime = number;

/** Microseconds of the process-wide monotonic clock; the same in every thread (see clock.ts). */
export type MonotonicUs = number;

/** ITU-T H.273 matrix coefficients that occur in WebRTC video. */
export type ColourMatrix = 'bt601' | 'bt709' | 'bt2020';
export interface Colour {
  readonly matrix: ColourMatrix;
  /** `limited`: luma 16..235 ("tv", "mpeg"); `full`: 0..255 ("pc", "jpeg"). */
  readonly range: 'limited' | 'full';
}

/** One complete compressed picture of the publisher. H264: Annex B with start codes; VP8, VP9: the bare frame; AV1: a temporal unit in low-overhead format. */
export interface AccessUnit {
  readonly codec: SourceCodec;
  readonly data: Uint8Array;
  readonly mediaTime: MediaTime;
  readonly keyframe: boolean;
  /** When the first packet of the unit arrived. */
  readonly receivedAtUs: MonotonicUs;
  /** When the unit was complete and handed on. */
  readonly assembledAtUs: MonotonicUs;
  /**
   * Colour from the RTP header extension (colour-space.ts), overriding the bitstream, as in libwebrtc. Valid until replaced, or
   * until a keyframe without the extension.
   */
  readonly colour?: Colour | undefined;
}

/** `full`: the upscaled picture; `low`: the same picture at the source's size, for viewers on thin links. */
export type Rendition = 'full' | 'low';

/** One complete compressed picture for viewers. H264: Annex B; VP8: the bare frame. */
export interface EncodedFrame {
  readonly codec: ResultCodec;
  readonly rendition: Rendition;
  readonly data: Uint8Array;
  readonly mediaTime: MediaTime;
  readonly keyframe: boolean;
  readonly width: number;
  readonly height: number;
  readonly trace: Readonly<FrameTrace>;
}

/** Where frames may be dropped, and why. The strings are label values of `flashvsr_frames_dropped_total`. */
export type DropReason =
  | 'ingest-slow' // a pulled stream came faster than the server read it from its process
  | 'incomplete' // packets missing for longer than the jitter buffer waits
  | 'oversize' // more bytes or packets than any real picture
  | 'awaiting-keyframe' // not decodable until the next keyframe
  | 'decode-error'
  | 'out-of-order' // B-frames: its place had passed before the stream's reordering was known, or the decoder was reset around it
  | 'stale' // older than the latency budget before the upscaler started on it
  | 'queue-full' // the upscaler or encoder is busy and a newer frame is there
  | 'phase' // a chunked stream's first frames, left out so that its chunks do not wait for those of other streams
  | 'pace-late' // its presentation time passed by more than the budget
  | 'egress-slow' // a subscriber that writes (a recorder, a relay) is more than its queue behind
  | 'no-viewer'; // no viewer takes this codec and rendition
