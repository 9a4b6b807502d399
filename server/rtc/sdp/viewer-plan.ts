import { AppError } from '../../errors.ts';
import { h264LevelFor } from '../../media/h264-level.ts';
import type { ResultCodec, SourceCodec } from '../../media/types.ts';
import type { RemoteTransportParameters } from '../transport-parameters.ts';
import type { AnswerCodec, AnswerMedia } from './answer.ts';
import { commonTransport, sectionAt, usableSections, type Section } from './bundle.ts';
import { answerOpus, answerVideo, findOpus, usableVideoCodecs, type UsableCodec } from './codecs.ts';
import { EXTENSION, type Offer, type OfferedMedia } from './offer.ts';

/** What is accepted of a viewer's offer: sections, codecs, extensions, feedback. Pure: no sockets, no state. */

export interface ViewerTrackPlan {
  readonly index: number;
  /** One for the result and audio, all usable ones for the source. */
  readonly payloadTypes: ReadonlyMap<
    SourceCodec | 'opus',
    { readonly payloadType: number; readonly rtx: number | undefined }
  >;
  readonly absoluteSendTimeId: number | undefined;
  /** The source's packets alone carry colours; results have the colours a receiver assumes. */
  readonly colourSpaceId: number | undefined;
  readonly codecs: readonly AnswerCodec[];
  readonly extensions: AnswerMedia['extensions'];
}

export interface ViewerPlan {
  readonly transport: RemoteTransportParameters;
  readonly candidates: readonly string[];
  readonly resultCodec: ResultCodec;
  readonly result: ViewerTrackPlan;
  readonly source: ViewerTrackPlan | undefined;
  readonly audio: ViewerTrackPlan | undefined;
}

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
 * First video section: the result; second: the source; first audio section: audio. H264 is preferred for the result, it
 * costs a third of VP8 to encode.
 * @throws AppError sdp.unsupported | sdp.invalid
 */
export function planViewer(offer: Offer, maxOutput: Size): ViewerPlan {
  const [resultIndex, sourceIndex, ...more] = usableSections(offer, 'video', ['recvonly', 'sendrecv']);
  const [audioIndex, ...moreAudio] = usableSections(offer, 'audio', ['recvonly', 'sendrecv']);
  if (more.length > 0 || moreAudio.length > 0) {
    throw new AppError(
      'sdp.unsupported',
      'A viewer may ask for two video tracks (result, source) and one audio track.',
    );
  }
  const first = sectionAt(offer, resultIndex);
  if (first === undefined) {
    throw new AppError('sdp.unsupported', 'The offer has no video section that receives (a=recvonly).');
  }
  const usable = usableVideoCodecs(first.media);
  const chosen = usable.find((codec) => codec.codec === 'H264') ?? usable.find((codec) => codec.codec === 'VP8');
  if (chosen === undefined) {
    throw new AppError('sdp.unsupported', 'The viewer takes neither H264 (packetization-mode 1) nor VP8.');
  }
  const result = videoTrack(first, [chosen], maxOutput);
  const source = sourceTrack(sectionAt(offer, sourceIndex), maxOutput);
  const audio = audioTrack(sectionAt(offer, audioIndex));
  const indices = [result, source, audio].flatMap((track) => (track === undefined ? [] : [track.index]));
  return {
    transport: commonTransport(
      offer,
      indices.sort((a, b) => a - b),
    ),
    candidates: offer.media.flatMap((section) => section.candidates),
    resultCodec: chosen.codec === 'H264' ? 'H264' : 'VP8',
    result,
    source,
    audio,
  };
}

function videoTrack({ index, media }: Section, usable: readonly UsableCodec[], maxOutput: Size): ViewerTrackPlan {
  const { codecs, repairs } = answerVideo(media, usable, VIDEO_FEEDBACK, (codec) =>
    codec.codec === 'H264' ? withLevel(codec.parameters, maxOutput) : codec.parameters,
  );
  const payloadTypes = new Map(
    usable.map(({ codec, payloadType }) => [codec, { payloadType, rtx: repairs.get(payloadType) }]),
  );
  return { index, payloadTypes, codecs, ...viewerExtensions(media) };
}

/** The first payload type of each codec: packets are forwarded as the publisher sent them. */
function sourceTrack(section: Section | undefined, maxOutput: Size): ViewerTrackPlan | undefined {
  const firstOfEach = new Map<SourceCodec, UsableCodec>();
  for (const codec of section === undefined ? [] : usableVideoCodecs(section.media)) {
    if (!firstOfEach.has(codec.codec)) firstOfEach.set(codec.codec, codec);
  }
  if (section === undefined || firstOfEach.size === 0) return undefined;
  return { ...videoTrack(section, [...firstOfEach.values()], maxOutput), ...sourceExtensions(section.media) };
}

function audioTrack(section: Section | undefined): ViewerTrackPlan | undefined {
  const opus = section === undefined ? undefined : findOpus(section.media);
  if (section === undefined || opus === undefined) return undefined;
  return {
    index: section.index,
    payloadTypes: new Map([['opus', { payloadType: opus.payloadType, rtx: undefined }]]),
    codecs: [answerOpus(opus, [])],
    ...viewerExtensions(section.media),
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
