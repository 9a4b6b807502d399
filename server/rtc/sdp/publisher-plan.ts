import { AppError } from '../../errors.ts';
import type { SourceCodec } from '../../media/types.ts';
import type { RemoteTransportParameters } from '../transport-parameters.ts';
import type { AnswerMedia } from './answer.ts';
import { commonTransport, sectionAt, usableSections } from './bundle.ts';
import { answerOpus, answerVideo, findOpus, usableVideoCodecs } from './codecs.ts';
import { EXTENSION, type Offer, type OfferedMedia } from './offer.ts';

/** What is accepted of a publisher's offer: sections, codecs, extensions, feedback. Pure: no sockets, no state. */

export interface PublisherPlan {
  readonly answer: ReadonlyMap<number, AnswerMedia>;
  readonly transport: RemoteTransportParameters;
  readonly candidates: readonly string[];
  readonly videoCodecs: ReadonlyMap<number, SourceCodec>;
  /** RTX payload type -> the payload type it repairs. */
  readonly rtx: ReadonlyMap<number, number>;
  readonly audioPayloadType: number | undefined;
  readonly transportSequenceId: number | undefined;
  readonly colourSpaceId: number | undefined;
}

/** goog-remb and ccm fir are left out: with transport-cc the former is ignored, and the latter is never sent. */
const VIDEO_FEEDBACK = ['transport-cc', 'nack', 'nack pli'];

export interface PublisherLimits {
  readonly startBitrateBps: number;
  readonly maxBitrateBps: number | undefined;
}

/** @throws AppError sdp.unsupported | sdp.invalid */
export function planPublisher(offer: Offer, limits: PublisherLimits): PublisherPlan {
  const [videoIndex, ...moreVideo] = usableSections(offer, 'video', ['sendonly', 'sendrecv']);
  const [audioIndex, ...moreAudio] = usableSections(offer, 'audio', ['sendonly', 'sendrecv']);
  if (moreVideo.length > 0 || moreAudio.length > 0) {
    const count = moreVideo.length > 0 ? `${moreVideo.length + 1} video` : `${moreAudio.length + 1} audio`;
    throw new AppError('sdp.unsupported', `The offer sends ${count} tracks; one of each kind is taken.`);
  }
  const video = sectionAt(offer, videoIndex);
  if (video === undefined) throw new AppError('sdp.unsupported', 'The offer sends no video track.');
  const usable = usableVideoCodecs(video.media);
  if (usable.length === 0) {
    const names = [...new Set(video.media.codecs.map((codec) => codec.name))].join(', ').slice(0, 200);
    throw new AppError('sdp.unsupported', `None of the offered video codecs can be used: ${names || 'none'}.`);
  }
  const answer = new Map<number, AnswerMedia>();
  const { codecs, repairs } = answerVideo(video.media, usable, VIDEO_FEEDBACK, ({ parameters }) =>
    withBitrates(parameters, limits),
  );
  const { extensions, transportSequenceId, colourSpaceId } = publisherExtensions(video.media);
  answer.set(video.index, { direction: 'recvonly', codecs, extensions, maxBitrateBps: limits.maxBitrateBps });
  const audio = sectionAt(offer, audioIndex);
  const opus = audio === undefined ? undefined : findOpus(audio.media);
  if (audio !== undefined && opus !== undefined) {
    answer.set(audio.index, {
      direction: 'recvonly',
      codecs: [answerOpus(opus, ['transport-cc'])],
      extensions: publisherExtensions(audio.media).extensions,
    });
  }
  return {
    answer,
    transport: commonTransport(
      offer,
      [...answer.keys()].sort((a, b) => a - b),
    ),
    candidates: offer.media.flatMap((section) => section.candidates),
    videoCodecs: new Map(usable.map((codec) => [codec.payloadType, codec.codec])),
    rtx: new Map([...repairs].map(([payloadType, rtx]) => [rtx, payloadType])),
    audioPayloadType: opus?.payloadType,
    transportSequenceId,
    colourSpaceId,
  };
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
function publisherExtensions(media: OfferedMedia) {
  const extensions = [EXTENSION.mid, EXTENSION.transportSequence, EXTENSION.colourSpace].flatMap((uri) => {
    const id = media.extensions.get(uri);
    return id === undefined ? [] : [{ id, uri }];
  });
  return {
    extensions,
    transportSequenceId: media.extensions.get(EXTENSION.transportSequence),
    colourSpaceId: media.extensions.get(EXTENSION.colourSpace),
  };
}
