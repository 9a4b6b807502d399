import { AppError } from '../../errors.ts';
import type { SourceCodec } from '../../media/types.ts';
import type { RemoteTransportParameters } from '../transport-parameters.ts';
import type { AnswerMedia } from './answer.ts';
import { commonTransport, sectionAt, usableSections, type Section } from './bundle.ts';
import { answerOpus, answerVideo, findOpus, usableVideoCodecs } from './codecs.ts';
import { EXTENSION, type Offer, type OfferedMedia } from './offer.ts';

/** What is accepted of an offer that sends to us: a track for each section that is taken. Pure: no sockets, no state. */

export interface IncomingTrackPlan {
  /** The section's MID, which stays the same over all descriptions of a session (RFC 8843 section 7). */
  readonly id: string;
  readonly kind: 'video' | 'audio';
  readonly codecs: ReadonlyMap<number, SourceCodec | 'opus'>;
  /** RTX payload type -> the payload type it repairs. */
  readonly rtx: ReadonlyMap<number, number>;
  /** Announced by a=ssrc; many senders announce none. */
  readonly ssrcs: readonly number[];
  /** Simulcast encodings by preference: the first that is received is taken. Empty: there is one, whatever its RID. */
  readonly rids: readonly string[];
  readonly midId: number | undefined;
  readonly ridId: number | undefined;
  readonly repairedRidId: number | undefined;
  readonly transportSequenceId: number | undefined;
  readonly colourSpaceId: number | undefined;
}

export interface PublisherPlan {
  readonly answer: ReadonlyMap<number, AnswerMedia>;
  readonly transport: RemoteTransportParameters;
  readonly candidates: readonly string[];
  /** In the order of the offer. */
  readonly tracks: readonly IncomingTrackPlan[];
}

/** goog-remb and ccm fir are left out: with transport-cc the former is ignored, and the latter is never sent. */
const VIDEO_FEEDBACK = ['transport-cc', 'nack', 'nack pli'];

export interface PublisherLimits {
  readonly startBitrateBps: number;
  readonly maxBitrateBps: number | undefined;
  /** Tracks of each kind; left out, one: a broadcast has one source. */
  readonly maxVideoTracks?: number;
  readonly maxAudioTracks?: number;
}

/** @throws AppError sdp.unsupported | sdp.invalid */
export function planPublisher(offer: Offer, limits: PublisherLimits): PublisherPlan {
  const { maxVideoTracks = 1, maxAudioTracks = 1 } = limits;
  const video = usableSections(offer, 'video', ['sendonly', 'sendrecv']);
  const audio = usableSections(offer, 'audio', ['sendonly', 'sendrecv']);
  refuseMore(video.length, maxVideoTracks, 'video');
  refuseMore(audio.length, maxAudioTracks, 'audio');
  if (video.length === 0) throw new AppError('sdp.unsupported', 'The offer sends no video track.');
  if (maxVideoTracks === 1 && maxAudioTracks === 1) refuseSecondStream(offer, [...video, ...audio]);
  const answer = new Map<number, AnswerMedia>();
  const tracks: IncomingTrackPlan[] = [];
  for (const index of [...video, ...audio].sort((a, b) => a - b)) {
    const section = sectionAt(offer, index);
    if (section === undefined) continue;
    const track = planTrack(section, limits);
    answer.set(index, track.answer);
    tracks.push(track.plan);
  }
  return {
    answer,
    transport: commonTransport(offer, [...answer.keys()]),
    candidates: offer.media.flatMap((section) => section.candidates),
    tracks,
  };
}

function refuseMore(count: number, maximum: number, kind: string): void {
  if (count <= maximum) return;
  const taken = maximum === 1 ? 'one of each kind is taken' : `${maximum} ${kind} tracks are taken`;
  throw new AppError('sdp.unsupported', `The offer sends ${count} ${kind} tracks; ${taken}.`);
}

/** RFC 9725 section 4.4.2: picture and sound are of one MediaStream. @throws AppError */
function refuseSecondStream(offer: Offer, indices: readonly number[]): void {
  const streams = new Set(indices.flatMap((index) => offer.media[index]?.streams ?? []));
  if (streams.size <= 1) return;
  throw new AppError('sdp.unsupported', `The offer sends ${streams.size} MediaStreams (a=msid); a broadcast is one.`, {
    remedy: 'Put video and audio into one MediaStream.',
  });
}

interface PlannedTrack {
  readonly plan: IncomingTrackPlan;
  readonly answer: AnswerMedia;
}

/** A section that cannot be taken refuses the offer: a session without its sound would surprise (RFC 9725 section 4.4.3). @throws AppError */
function planTrack({ media }: Section, limits: PublisherLimits): PlannedTrack {
  const { extensions, ids } = acceptExtensions(media);
  const common = { id: media.mid, ssrcs: media.ssrcs, rids: media.sendRids, ...ids };
  if (media.kind === 'audio') {
    const opus = findOpus(media);
    if (opus === undefined) throw unusable(media, 'Opus is taken.');
    return {
      plan: { ...common, kind: 'audio', codecs: new Map([[opus.payloadType, 'opus']]), rtx: new Map() },
      answer: { direction: 'recvonly', codecs: [answerOpus(opus, ['transport-cc'])], extensions },
    };
  }
  const usable = usableVideoCodecs(media, 'receive');
  if (usable.length === 0) {
    throw unusable(media, 'H264 (packetization-mode 0 or 1), VP8, VP9 (profile 0) and AV1 (profile 0) are taken.');
  }
  const { codecs, repairs } = answerVideo(media, usable, VIDEO_FEEDBACK, ({ parameters }) =>
    withBitrates(parameters, limits),
  );
  return {
    plan: {
      ...common,
      kind: 'video',
      codecs: new Map(usable.map((codec) => [codec.payloadType, codec.codec])),
      rtx: new Map([...repairs].map(([payloadType, rtx]) => [rtx, payloadType])),
    },
    answer: {
      direction: 'recvonly',
      codecs,
      extensions,
      receiveRids: media.sendRids,
      maxBitrateBps: limits.maxBitrateBps,
    },
  };
}

function unusable({ kind, codecs }: OfferedMedia, taken: string): AppError {
  const names = [...new Set(codecs.map((codec) => codec.name))].join(', ').slice(0, 200);
  return new AppError(
    'sdp.unsupported',
    `None of the offered ${kind} codecs can be used: ${names || 'none'}. ${taken}`,
  );
}

/** x-google-start-bitrate skips libwebrtc's slow start from 300 kbit/s. */
function withBitrates(
  parameters: ReadonlyMap<string, string>,
  { startBitrateBps, maxBitrateBps }: PublisherLimits,
): ReadonlyMap<string, string> {
  const answered = new Map(parameters);
  if (maxBitrateBps !== undefined) answered.set('x-google-max-bitrate', String(Math.round(maxBitrateBps / 1000)));
  answered.set('x-google-start-bitrate', String(Math.round(startBitrateBps / 1000)));
  return answered;
}

/** Video orientation is deliberately absent: without it browsers rotate the picture before encoding. */
function acceptExtensions(media: OfferedMedia) {
  const uris = [
    EXTENSION.mid,
    EXTENSION.rid,
    EXTENSION.repairedRid,
    EXTENSION.transportSequence,
    EXTENSION.colourSpace,
  ];
  const idOf = (uri: string) => media.extensions.get(uri);
  return {
    extensions: uris.flatMap((uri) => {
      const id = idOf(uri);
      return id === undefined ? [] : [{ id, uri }];
    }),
    ids: {
      midId: idOf(EXTENSION.mid),
      ridId: idOf(EXTENSION.rid),
      repairedRidId: idOf(EXTENSION.repairedRid),
      transportSequenceId: idOf(EXTENSION.transportSequence),
      colourSpaceId: idOf(EXTENSION.colourSpace),
    },
  };
}
