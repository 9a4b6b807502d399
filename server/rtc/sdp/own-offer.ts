import { h264LevelFor } from '../../media/h264-level.ts';
import type { SourceCodec } from '../../media/types.ts';
import { randomSsrcs, type StreamSsrcs } from '../ssrc.ts';
import type { LocalTransportParameters } from '../transport-parameters.ts';
import { mediaLines, type AnswerCodec, type AnswerMedia } from './answer.ts';
import { EXTENSION } from './offer.ts';
import type { TrackContent } from './viewer-plan.ts';

/** What we offer to a server that is to take a broadcast (RFC 9725 section 4.4): one video, one audio, one transport. */

/** A codec with the payload types that it and its retransmissions have in our offer. */
export interface OfferedPayload {
  readonly codec: SourceCodec | 'opus';
  readonly payloadType: number;
  readonly rtx: number | undefined;
}

export interface OfferedTrack {
  readonly id: 'result' | 'source' | 'audio';
  readonly kind: 'video' | 'audio';
  readonly content: TrackContent;
  readonly mid: string;
  /** In order of preference. */
  readonly payloads: readonly OfferedPayload[];
  readonly codecs: readonly AnswerCodec[];
  readonly ssrcs: StreamSsrcs;
}

export interface OfferedVideo {
  /** `result`: pictures that this server encodes; `source`: the publisher's packets. */
  readonly track: 'result' | 'source';
  /** In order of preference. */
  readonly codecs: readonly SourceCodec[];
  readonly maxOutput: { readonly width: number; readonly height: number };
}

/** The ids of our header extensions; those that an answer leaves out are not sent. */
const EXTENSIONS = [
  { id: 1, uri: EXTENSION.absoluteSendTime },
  { id: 2, uri: EXTENSION.colourSpace },
] as const;

const PAYLOAD_TYPES: Readonly<Record<SourceCodec, number>> = { H264: 96, VP8: 98, VP9: 100, AV1: 102 };
const OPUS: AnswerCodec = {
  payloadType: 111,
  name: 'opus',
  clockRate: 48_000,
  channels: 2,
  // Whether a publisher's Opus is stereo is not known here; without these words a receiver makes mono of it (RFC 7587).
  parameters: 'minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1',
  feedback: [],
};
const VIDEO_FEEDBACK = ['goog-remb', 'nack', 'nack pli', 'ccm fir'];
const LEVEL_FPS = 60;
const LEAST_LEVEL = 31;

/** Audio comes first, as OBS has it. */
export function offeredTracks(video: OfferedVideo): readonly OfferedTrack[] {
  const content = video.track === 'result' ? 'encoded' : 'forwarded';
  const payloads = video.codecs.map((codec): OfferedPayload => {
    const payloadType = PAYLOAD_TYPES[codec];
    return { codec, payloadType, rtx: payloadType + 1 };
  });
  return [
    {
      id: 'audio',
      kind: 'audio',
      content: 'forwarded',
      mid: '0',
      payloads: [{ codec: 'opus', payloadType: OPUS.payloadType, rtx: undefined }],
      codecs: [OPUS],
      ssrcs: randomSsrcs(),
    },
    {
      id: video.track,
      kind: 'video',
      content,
      mid: '1',
      payloads,
      codecs: video.codecs.flatMap((codec) => videoCodecs(codec, video)),
      ssrcs: randomSsrcs(),
    },
  ];
}

/** @param streamId the MediaStream that all tracks belong to: players align only what shares one */
export function buildOffer(
  tracks: readonly OfferedTrack[],
  local: LocalTransportParameters,
  { sessionId, streamId, cname }: { readonly sessionId: string; readonly streamId: string; readonly cname: string },
): string {
  const sections = tracks.map((track) => {
    const { id, kind, mid, codecs, ssrcs } = track;
    const rtxSsrc = codecs.some(({ name }) => name === 'rtx') ? ssrcs.rtxSsrc : undefined;
    const send = { streamId, trackId: id, cname, ssrc: ssrcs.ssrc, rtxSsrc };
    const media: AnswerMedia = { direction: 'sendonly', codecs, extensions: extensionsOf(track), send };
    return { kind, mid, media };
  });
  return describeOffer(sections, local, sessionId);
}

/** An offer of ours: one transport, which the first section's candidates are of. */
export function describeOffer(
  sections: readonly { readonly kind: 'video' | 'audio'; readonly mid: string; readonly media: AnswerMedia }[],
  local: LocalTransportParameters,
  sessionId: string,
): string {
  const lines = ['v=0', `o=- ${sessionId} 1 IN IP4 127.0.0.1`, 's=-', 't=0 0'];
  lines.push(`a=group:BUNDLE ${sections.map(({ mid }) => mid).join(' ')}`, 'a=msid-semantic: WMS *');
  for (const section of sections) {
    const described = { ...section, protocol: 'UDP/TLS/RTP/SAVPF', rtcpReducedSize: true };
    lines.push(...mediaLines(described, section.media, { local, first: section === sections[0], bundled: true }));
  }
  return `${lines.join('\r\n')}\r\n`;
}

/** Results have the colours that a receiver assumes: only forwarded video carries its own. */
export function extensionsOf({
  kind,
  content,
}: OfferedTrack): readonly { readonly id: number; readonly uri: string }[] {
  return kind === 'video' && content === 'forwarded' ? EXTENSIONS : EXTENSIONS.slice(0, 1);
}

function videoCodecs(codec: SourceCodec, { track, maxOutput }: OfferedVideo): AnswerCodec[] {
  const payloadType = PAYLOAD_TYPES[codec];
  const parameters = codec === 'H264' ? { parameters: h264Parameters(maxOutput, track) } : {};
  const common = { clockRate: 90_000, channels: 1 };
  return [
    { ...common, payloadType, name: codec, feedback: VIDEO_FEEDBACK, ...parameters },
    { ...common, payloadType: payloadType + 1, name: 'rtx', parameters: `apt=${payloadType}`, feedback: [] },
  ];
}

/** Our encoder makes constrained baseline (RFC 6184 section 8.1); a publisher's profile is whatever it is, as with OBS. */
function h264Parameters({ width, height }: OfferedVideo['maxOutput'], track: OfferedVideo['track']): string {
  const level = track === 'source' ? LEAST_LEVEL : Math.max(LEAST_LEVEL, h264LevelFor(width, height, LEVEL_FPS));
  return `level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e0${level.toString(16).padStart(2, '0')}`;
}
