import type { SourceCodec } from '../../media/types.ts';
import type { AnswerCodec } from './answer.ts';
import type { OfferedCodec, OfferedMedia } from './offer.ts';

/** Which offered codecs can be used, and how the answer names them. Linear in the codecs of a section (at most 128). */

export function findOpus(media: OfferedMedia): OfferedCodec | undefined {
  return media.codecs.find((codec) => codec.name === 'OPUS' && codec.clockRate === 48_000);
}

/** Constrained baseline first (every encoder and decoder has it), then baseline, main, high (RFC 6184 section 8.1). */
function h264Rank(codec: OfferedCodec): number {
  const profile = (codec.parameters.get('profile-level-id') ?? '42001f').toLowerCase();
  const constraints = parseInt(profile.slice(2, 4), 16);
  const baseline = profile.startsWith('42');
  if (baseline && (constraints & 0x40) !== 0) return 0;
  if (baseline) return 1;
  if (profile.startsWith('4d')) return 2;
  return profile.startsWith('64') ? 3 : 4;
}

/**
 * The codecs we can use of a section, the peer's order kept, H264 by h264Rank(). We send H264 in packetization-mode 1 alone
 * and receive mode 0, which is a part of it, where nothing else is offered.
 */
export function usableVideoCodecs(media: OfferedMedia, direction: 'send' | 'receive' = 'send'): UsableCodec[] {
  const inMode = (mode: string) =>
    media.codecs.flatMap((offered): UsableCodec[] => {
      const codec = usableAs(offered, mode);
      return codec === undefined ? [] : [{ ...offered, codec }];
    });
  const mode1 = inMode('1');
  const single = direction === 'receive' && mode1.every(({ codec }) => codec !== 'H264');
  const usable = single ? inMode('0') : mode1;
  const h264 = usable.filter(({ codec }) => codec === 'H264').sort((a, b) => h264Rank(a) - h264Rank(b));
  let next = 0;
  return usable.map((codec) => (codec.codec === 'H264' ? (h264[next++] as UsableCodec) : codec));
}

export type UsableCodec = OfferedCodec & { readonly codec: SourceCodec };

function usableAs(offered: OfferedCodec, packetizationMode: string): SourceCodec | undefined {
  if (offered.clockRate !== 90_000) return undefined;
  if (offered.name === 'VP8') return 'VP8';
  // Profile 0 only: 8 bit 4:2:0 is what decoder and upscaler take.
  if (offered.name === 'VP9') return (offered.parameters.get('profile-id') ?? '0') === '0' ? 'VP9' : undefined;
  // Profile 0 (main) is the default, 8 or 10 bit 4:2:0 (AV1 RTP specification, section 7.1).
  if (offered.name === 'AV1') return (offered.parameters.get('profile') ?? '0') === '0' ? 'AV1' : undefined;
  if (offered.name !== 'H264') return undefined;
  const mode = offered.parameters.get('packetization-mode') ?? '0'; // RFC 6184 section 8.1
  return mode === packetizationMode && h264Rank(offered) < 4 ? 'H264' : undefined;
}

/** Back to SDP: VP8 has no parameters, and an empty a=fmtp would be malformed. */
function answerCodec(offered: OfferedCodec, parameters: ReadonlyMap<string, string>, feedback: string[]): AnswerCodec {
  const { payloadType, name, clockRate, channels } = offered;
  const text = [...parameters].map(([key, value]) => (value === '' ? key : `${key}=${value}`)).join(';');
  return { payloadType, name, clockRate, channels, feedback, ...(text === '' ? {} : { parameters: text }) };
}

export interface AnsweredVideo {
  /** Each codec followed by its RTX, if one was offered. */
  readonly codecs: readonly AnswerCodec[];
  /** Payload type -> the payload type of its RTX. */
  readonly repairs: ReadonlyMap<number, number>;
}

/**
 * @param feedback what the answer keeps of each codec's offered feedback
 * @param parametersOf each codec's parameters in the answer
 */
export function answerVideo(
  media: OfferedMedia,
  usable: readonly UsableCodec[],
  feedback: readonly string[],
  parametersOf: (codec: UsableCodec) => ReadonlyMap<string, string>,
): AnsweredVideo {
  const rtx = new Map<string, OfferedCodec>();
  for (const codec of media.codecs) {
    const repaired = codec.name === 'RTX' ? codec.parameters.get('apt') : undefined;
    if (repaired !== undefined && !rtx.has(repaired)) rtx.set(repaired, codec);
  }
  const repairs = new Map<number, number>();
  const codecs = usable.flatMap((codec): AnswerCodec[] => {
    const kept = codec.feedback.filter((value) => feedback.includes(value));
    const primary = answerCodec(codec, parametersOf(codec), kept);
    const repair = rtx.get(String(codec.payloadType));
    if (repair === undefined) return [primary];
    repairs.set(codec.payloadType, repair.payloadType);
    return [primary, answerCodec({ ...repair, name: 'rtx' }, new Map([['apt', String(codec.payloadType)]]), [])];
  });
  return { codecs, repairs };
}

export function answerOpus(opus: OfferedCodec, feedback: readonly string[]): AnswerCodec {
  const parameters = new Map([
    ['minptime', '10'],
    ['useinbandfec', '1'],
  ]);
  // RFC 7587 section 7: without them a sender mixes down to mono, and a receiver decodes mono.
  for (const name of ['stereo', 'sprop-stereo']) if (opus.parameters.get(name) === '1') parameters.set(name, '1');
  return answerCodec(
    { ...opus, name: 'opus' },
    parameters,
    opus.feedback.filter((value) => feedback.includes(value)),
  );
}
