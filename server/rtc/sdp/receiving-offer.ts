import type { SourceCodec } from '../../media/types.ts';
import type { AnswerCodec, AnswerMedia } from './answer.ts';
import { EXTENSION, type Offer, type OfferedMedia } from './offer.ts';
import { answeredSections, transportOf, unusable, type AnsweredSection } from './own-answer.ts';
import { findOpus, usableVideoCodecs } from './codecs.ts';
import type { IncomingTrackPlan, PublisherPlan } from './publisher-plan.ts';

/** What we offer to a server that a broadcast is taken from, and what its answer sends (draft-ietf-wish-whep section 4.2). */

export interface WantedTrack {
  readonly kind: 'video' | 'audio';
  readonly mid: string;
  readonly media: AnswerMedia;
}

const EXTENSIONS = [
  { id: 1, uri: EXTENSION.mid },
  { id: 2, uri: EXTENSION.transportSequence },
  { id: 3, uri: EXTENSION.colourSpace },
] as const;

/** A receiver that does not ask for stereo is sent mono (RFC 7587 section 7). */
const OPUS: AnswerCodec = {
  ...{ payloadType: 111, name: 'opus', clockRate: 48_000, channels: 2, feedback: ['transport-cc'] },
  parameters: 'minptime=10;useinbandfec=1;stereo=1',
};

/** As what PublisherConnection sends: NACK, PLI and transport-wide feedback, no REMB and no FIR. */
const VIDEO_FEEDBACK = ['transport-cc', 'nack', 'nack pli'];

/**
 * Servers compare the profile literally (Pion), so each of H264's that is decoded has a payload type; baseline first, as it
 * has no B-frames. A server that packs in mode 0 alone is the last choice (RFC 6184 section 8.2.2).
 */
const VIDEO: readonly { readonly codec: SourceCodec; readonly payloadType: number; readonly parameters?: string }[] = [
  { codec: 'H264', payloadType: 96, parameters: h264('42e01f', 1) },
  { codec: 'H264', payloadType: 104, parameters: h264('42001f', 1) },
  { codec: 'H264', payloadType: 106, parameters: h264('4d001f', 1) },
  { codec: 'H264', payloadType: 108, parameters: h264('64001f', 1) },
  { codec: 'VP8', payloadType: 98 },
  { codec: 'VP9', payloadType: 100, parameters: 'profile-id=0' },
  { codec: 'AV1', payloadType: 102 },
  { codec: 'H264', payloadType: 112, parameters: h264('42e01f', 0) },
];

function h264(profile: string, packetizationMode: 0 | 1): string {
  return `level-asymmetry-allowed=1;packetization-mode=${packetizationMode};profile-level-id=${profile}`;
}

/** One video and one audio track, in every codec that the server decodes or forwards. @param maxBitrateBps of the video */
export function wantedTracks(maxBitrateBps: number | undefined): readonly WantedTrack[] {
  const codecs = VIDEO.flatMap(({ codec, payloadType, parameters }): AnswerCodec[] => {
    const common = { clockRate: 90_000, channels: 1 };
    return [
      {
        ...{ ...common, payloadType, name: codec, feedback: VIDEO_FEEDBACK },
        ...(parameters === undefined ? {} : { parameters }),
      },
      { ...common, payloadType: payloadType + 1, name: 'rtx', parameters: `apt=${payloadType}`, feedback: [] },
    ];
  });
  return [
    {
      ...{ kind: 'audio', mid: '0' },
      media: { direction: 'recvonly', codecs: [OPUS], extensions: EXTENSIONS.slice(0, 2) },
    },
    { ...{ kind: 'video', mid: '1' }, media: { direction: 'recvonly', codecs, extensions: EXTENSIONS, maxBitrateBps } },
  ];
}

/** Of the answer: what a publisher's offer would have said. */
export type ReceivingPlan = Omit<PublisherPlan, 'answer'>;

/**
 * A server may have no audio, not no video.
 * @throws AppError sdp.invalid | sdp.unsupported
 */
export function planReceiving(wanted: readonly WantedTrack[], answer: Offer): ReceivingPlan {
  const used = answeredSections(wanted, answer, 'sendonly').flatMap((section) => {
    const plan = section.track.kind === 'audio' ? planAudio(section) : planVideo(section);
    return plan === undefined ? [] : [{ plan, media: section.media }];
  });
  if (!used.some(({ plan }) => plan.kind === 'video')) {
    const codecs = [...new Set(VIDEO.map(({ codec }) => codec))].join(', ');
    throw unusable(`The answer sends no video that can be used (${codecs} were offered).`);
  }
  const sections = used.map(({ media }) => media);
  return {
    transport: transportOf(answer, sections),
    candidates: answer.media.flatMap((section) => section.candidates),
    tracks: used.map(({ plan }) => plan),
  };
}

type Section = AnsweredSection<WantedTrack>;

function planAudio(section: Section): IncomingTrackPlan | undefined {
  const opus = findOpus(described(section));
  if (opus === undefined) return undefined;
  return { ...common(section), kind: 'audio', codecs: new Map([[opus.payloadType, 'opus']]), rtx: new Map() };
}

function planVideo(section: Section): IncomingTrackPlan | undefined {
  const media = described(section);
  const usable = usableVideoCodecs(media, 'receive');
  if (usable.length === 0) return undefined;
  const codecs = new Map(usable.map(({ payloadType, codec }) => [payloadType, codec]));
  const rtx = media.codecs.flatMap(({ name, payloadType, parameters }) => {
    const repaired = name === 'RTX' ? Number(parameters.get('apt')) : NaN;
    return codecs.has(repaired) ? [[payloadType, repaired] as const] : [];
  });
  return { ...common(section), kind: 'video', codecs, rtx: new Map(rtx) };
}

/** Payload types are the answer's own words; one that it does not explain has the meaning that our offer gave it. */
function described({ media, track }: Section): OfferedMedia {
  const codecs = media.formats.flatMap((format) => {
    const answered = media.codecs.find(({ payloadType }) => String(payloadType) === format);
    if (answered !== undefined) return [answered];
    const own = track.media.codecs.find(({ payloadType }) => String(payloadType) === format);
    return own === undefined ? [] : [{ ...own, name: own.name.toUpperCase(), parameters: parametersOf(own) }];
  });
  return { ...media, codecs };
}

function parametersOf({ parameters = '' }: AnswerCodec): ReadonlyMap<string, string> {
  return new Map(parameters.split(';').map((part) => part.split('=', 2) as [string, string]));
}

/** A section without a MID has that of our offer by its place (RFC 9429 section 5.11 asks for the same). */
function common({ media, track }: Section) {
  const idOf = (uri: string) => {
    const own = track.media.extensions.find((extension) => extension.uri === uri)?.id;
    return own !== undefined && media.extensions.get(uri) === own ? own : undefined;
  };
  return {
    id: media.mid,
    ssrcs: media.ssrcs,
    rids: [],
    midId: idOf(EXTENSION.mid),
    ridId: undefined,
    repairedRidId: undefined,
    transportSequenceId: idOf(EXTENSION.transportSequence),
    colourSpaceId: idOf(EXTENSION.colourSpace),
  };
}
