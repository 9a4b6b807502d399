import { AUDIO_CLOCK_HZ } from './types.ts';

/** Milliseconds of a frame by the configuration number (RFC 6716 section 3.1, table 2): SILK, hybrid, CELT. */
const SILK_MS = [10, 20, 40, 60] as const;
const HYBRID_MS = [10, 20] as const;
const CELT_MS = [2.5, 5, 10, 20] as const;
/** The longest packet (RFC 6716 section 3.2.5, R5). */
const MAX_PACKET_MS = 120;

/** Samples per channel at 48 kHz that an Opus packet holds (RFC 6716 sections 3.1 and 3.2); undefined for one that is malformed. */
export function opusSamples(packet: Uint8Array): number | undefined {
  const [toc, second] = packet;
  if (toc === undefined) return undefined;
  const frames = frameCount(toc & 3, second);
  if (frames === undefined) return undefined;
  const milliseconds = frames * frameMs(toc >> 3);
  return milliseconds > MAX_PACKET_MS ? undefined : (milliseconds * AUDIO_CLOCK_HZ) / 1000;
}

/** Of a stream whose packets may be mono or stereo: two channels, no gain, no delay (RFC 7845 section 5.1). */
export function opusHead(): Uint8Array {
  const head = new Uint8Array(19);
  head.set(new TextEncoder().encode('OpusHead'));
  head[8] = 1;
  head[9] = 2;
  new DataView(head.buffer).setUint32(12, AUDIO_CLOCK_HZ, true);
  return head;
}

function frameMs(configuration: number): number {
  if (configuration < 12) return SILK_MS[configuration % 4] ?? 0;
  if (configuration < 16) return HYBRID_MS[configuration % 2] ?? 0;
  return CELT_MS[configuration % 4] ?? 0;
}

/** Code 3 has the number of frames in the second byte's low six bits. */
function frameCount(code: number, second: number | undefined): number | undefined {
  if (code === 0) return 1;
  if (code < 3) return 2;
  const count = (second ?? 0) & 0x3f;
  return count === 0 ? undefined : count;
}
