import { packetizeH264 } from './h264.ts';
import type { EncodedFrame } from './types.ts';
import { packetizeVp8 } from './vp8.ts';

/** With RTP header, extension, SRTP tag and UDP/IPv6 headers this stays under 1280 bytes, the least any path carries. */
export const MAX_PAYLOAD_BYTES = 1180;

/** An encoded frame cut into RTP payloads that all viewers of its codec and rendition share and nothing changes. */
export interface PacketizedFrame {
  readonly frame: EncodedFrame;
  /** In order; the last one carries the marker. */
  readonly payloads: readonly Uint8Array[];
}

const packetized = new WeakMap<EncodedFrame, PacketizedFrame>();

/**
 * Payloads of at most MAX_PAYLOAD_BYTES: H264 as single NAL units, FU-A and STAP-A (RFC 6184), VP8 with its descriptor
 * (RFC 7741). The first call for a frame does the work, later ones return the same object.
 *
 * VP8 payloads carry no picture id. libwebrtc takes id - 1 as the frame that a frame refers to, so an id that counts frames
 * which this viewer never gets (another rendition's, another broadcast's) freezes the picture; without ids it goes by the
 * sequence numbers, which are each viewer's own.
 */
export function packetize(frame: EncodedFrame): PacketizedFrame {
  let known = packetized.get(frame);
  if (known === undefined) {
    const payloads =
      frame.codec === 'H264'
        ? packetizeH264(frame.data, MAX_PAYLOAD_BYTES)
        : packetizeVp8(frame.data, undefined, MAX_PAYLOAD_BYTES);
    known = { frame, payloads };
    packetized.set(frame, known);
  }
  return known;
}
