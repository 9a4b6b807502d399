import { AppError } from '../../errors.ts';
import { h264LevelFor } from '../../media/h264-level.ts';
import type { ResultCodec, SourceCodec } from '../../media/types.ts';
import type { RemoteTransportParameters } from '../transport-parameters.ts';
import type { AnswerCodec, AnswerMedia } from './answer.ts';
import { commonTransport, sectionAt, usableSections, type Section } from './bundle.ts';
import { answerOpus, answerVideo, findOpus, usableVideoCodecs, type UsableCodec } from './codecs.ts';
import { EXTENSION, type Offer, type OfferedMedia } from './offer.ts';

/** What is accepted of an offer that receives from us: a track for each section that is taken. Pure: no sockets, no state. */

export interface ViewerTrackPlan {
  readonly id: string;
  readonly kind: 'video' | 'audio';
  /** `encoded`: whole frames of one codec that this server makes; `forwarded`: packets as their publisher sent them. */
  readonly content: TrackContent;
  readonly index: number;
  /** One for encoded video and audio, all usable ones for forwarded video. */
  readonly payloadTypes: ReadonlyMap<
    SourceCodec | 'opus',
    { readonly payloadType: number; readonly rtx: number | undefined }
  >;
  readonly absoluteSendTimeId: number | undefined;
  /** Forwarded packets alone carry colours; results have the colours a receiver assumes. */
  readonly colourSpaceId: number | undefined;
  readonly codecs: readonly AnswerCodec[];
  readonly extensions: AnswerMedia['extensions'];
}

export interface ViewerPlan {
  readonly transport: RemoteTransportParameters;
  readonly candidates: readonly string[];
  /** By id, in the order of the offer. */
  readonly tracks: ReadonlyMap<string, ViewerTrackPlan>;
  /** Of the first encoded track. */
  readonly resultCodec: ResultCodec;
}

export type TrackContent = 'encoded' | 'forwarded';

/** What the sections of an offer are for. @returns undefined for one that is too many */
export type TrackLayout = (
  kind: 'video' | 'audio',
  ordinal: number,
  mid: string,
) => { readonly id: string; readonly content: TrackContent } | undefined;

/** A page that watches: first video section the result, second the source, first audio section audio. */
export const PAGE_LAYOUT: TrackLayout = (kind, ordinal) => {
  if (kind === 'audio') return ordinal === 0 ? { id: 'audio', content: 'forwarded' } : undefined;
  if (ordinal === 0) return { id: 'result', content: 'encoded' };
  return ordinal === 1 ? { id: 'source', content: 'forwarded' } : undefined;
};

/** A player of the untouched source. */
export const SOURCE_LAYOUT: TrackLayout = (kind, ordinal) =>
  ordinal === 0 ? { id: kind === 'audio' ? 'audio' : 'source', content: 'forwarded' } : undefined;

const VIDEO_FEEDBACK = ['goog-remb', 'nack', 'nack pli'];
/** The level of the answer leaves room for this rate. */
const LEVEL_FPS = 60;
/** No decoder in use stops below level 3.1. */
const LEAST_LEVEL = 31;

interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * H264 is preferred for encoded tracks, it costs a third of VP8 to encode. Forwarded video without a usable codec and audio
 * without Opus are answered as rejected.
 * @throws AppError sdp.unsupported | sdp.invalid
 */
export function planViewer(offer: Offer, maxOutput: Size, layout: TrackLayout = PAGE_LAYOUT): ViewerPlan {
  const video = usableSections(offer, 'video', ['recvonly', 'sendrecv']);
  const audio = usableSections(offer, 'audio', ['recvonly', 'sendrecv']);
  if (video.length === 0) {
    throw new AppError('sdp.unsupported', 'The offer has no video section that receives (a=recvonly).');
  }
  const tracks = [...video, ...audio].flatMap((index): ViewerTrackPlan[] => {
    const section = sectionAt(offer, index);
    if (section === undefined) return [];
    const kind = section.media.kind === 'audio' ? 'audio' : 'video';
    const purpose = layout(kind, (kind === 'audio' ? audio : video).indexOf(index), section.media.mid);
    if (purpose === undefined) {
      throw new AppError(
        'sdp.unsupported',
        'A viewer may ask for two video tracks (result, source) and one audio track.',
      );
    }
    const described =
      kind === 'audio' ? audioTrack(section) : videoTrack(section, codecsFor(section, purpose.content), maxOutput);
    if (described === undefined) return [];
    const extensions = purpose.content === 'forwarded' && kind === 'video' ? sourceExtensions(section.media) : {};
    return [{ kind, ...purpose, ...described, ...extensions }];
  });
  tracks.sort((a, b) => a.index - b.index);
  const encoded = tracks.find(({ content }) => content === 'encoded');
  return {
    transport: commonTransport(
      offer,
      tracks.map(({ index }) => index),
    ),
    candidates: offer.media.flatMap((section) => section.candidates),
    tracks: new Map(tracks.map((track) => [track.id, track])),
    resultCodec: encoded?.payloadTypes.has('H264') === false ? 'VP8' : 'H264',
  };
}

/** @throws AppError sdp.unsupported for a section that takes nothing this server encodes */
function codecsFor({ media }: Section, content: TrackContent): readonly UsableCodec[] {
  const usable = usableVideoCodecs(media);
  if (content === 'encoded') {
    const chosen = usable.find(({ codec }) => codec === 'H264') ?? usable.find(({ codec }) => codec === 'VP8');
    if (chosen !== undefined) return [chosen];
    throw new AppError('sdp.unsupported', 'The viewer takes neither H264 (packetization-mode 1) nor VP8.');
  }
  // The first payload type of each codec: packets are forwarded as the publisher sent them.
  const firstOfEach = new Map<SourceCodec, UsableCodec>();
  for (const codec of usable) if (!firstOfEach.has(codec.codec)) firstOfEach.set(codec.codec, codec);
  return [...firstOfEach.values()];
}

type DescribedTrack = Omit<ViewerTrackPlan, 'id' | 'kind' | 'content'>;

function videoTrack(
  { index, media }: Section,
  usable: readonly UsableCodec[],
  maxOutput: Size,
): DescribedTrack | undefined {
  if (usable.length === 0) return undefined;
  const { codecs, repairs } = answerVideo(media, usable, VIDEO_FEEDBACK, (codec) =>
    codec.codec === 'H264' ? withLevel(codec.parameters, maxOutput) : codec.parameters,
  );
  const payloadTypes = new Map(
    usable.map(({ codec, payloadType }) => [codec, { payloadType, rtx: repairs.get(payloadType) }]),
  );
  return { index, payloadTypes, codecs, ...viewerExtensions(media) };
}

function audioTrack({ index, media }: Section): DescribedTrack | undefined {
  const opus = findOpus(media);
  if (opus === undefined) return undefined;
  return {
    index,
    payloadTypes: new Map([['opus', { payloadType: opus.payloadType, rtx: undefined }]]),
    codecs: [answerOpus(opus, [])],
    ...viewerExtensions(media),
  };
}

/** The offered profile at the level the picture needs (RFC 6184 section 8.2.2). */
function withLevel(parameters: ReadonlyMap<string, string>, { width, height }: Size): ReadonlyMap<string, string> {
  const offered = parameters.get('profile-level-id') ?? '42e01f';
  const level = Math.max(LEAST_LEVEL, h264LevelFor(width, height, LEVEL_FPS));
  const answered = new Map(parameters);
  answered.set('level-asymmetry-allowed', '1');
  answered.set('profile-level-id', offered.slice(0, 4) + level.toString(16).padStart(2, '0'));
  return answered;
}

function viewerExtensions(media: OfferedMedia) {
  const id = media.extensions.get(EXTENSION.absoluteSendTime);
  return {
    absoluteSendTimeId: id,
    colourSpaceId: undefined,
    extensions: id === undefined ? [] : [{ id, uri: EXTENSION.absoluteSendTime }],
  };
}

function sourceExtensions(media: OfferedMedia) {
  const { extensions } = viewerExtensions(media);
  const id = media.extensions.get(EXTENSION.colourSpace);
  return {
    colourSpaceId: id,
    extensions: id === undefined ? extensions : [...extensions, { id, uri: EXTENSION.colourSpace }],
  };
}
