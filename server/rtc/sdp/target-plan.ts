import type { Offer, OfferedMedia } from './offer.ts';
import { answeredSections, transportOf, unusable } from './own-answer.ts';
import { extensionsOf, type OfferedPayload, type OfferedTrack } from './own-offer.ts';
import type { ViewerPlan, ViewerTrackPlan } from './viewer-plan.ts';

/** What a server's answer takes of our offer (RFC 9725 section 4.4, RFC 9429 section 5.11). Pure: no sockets, no state. */

/**
 * A server may leave the audio out, not the video. Attributes of the transport may stand at the session, in every section or
 * in the first one alone.
 * @throws AppError sdp.invalid | sdp.unsupported
 */
export function planTarget(offered: readonly OfferedTrack[], answer: Offer): ViewerPlan {
  const taken = answeredSections(offered, answer, 'recvonly');
  const tracks = taken.flatMap(({ media, index, track }) => planTrack(media, index, track) ?? []);
  const video = tracks.find(({ kind }) => kind === 'video');
  if (video === undefined) {
    const names = (offered.find(({ kind }) => kind === 'video')?.payloads ?? []).map(({ codec }) => codec).join(', ');
    throw unusable(`The answer does not take the video that was offered (${names}).`);
  }
  return {
    transport: transportOf(
      answer,
      tracks.map(({ index }) => answer.media[index] as OfferedMedia),
    ),
    candidates: answer.media.flatMap((section) => section.candidates),
    tracks: new Map(tracks.map((track) => [track.id, track])),
    resultCodec: video.payloadTypes.has('H264') ? 'H264' : 'VP8',
  };
}

/** Encoded video in the first codec of the answer; of forwarded video all that it takes. */
function planTrack(media: OfferedMedia, index: number, track: OfferedTrack): ViewerTrackPlan | undefined {
  const { id, kind, content } = track;
  const accepted = media.formats.flatMap((format) => {
    const payload = track.payloads.find(({ payloadType }) => String(payloadType) === format);
    return payload !== undefined && agrees(media, payload) ? [payload] : [];
  });
  const used = content === 'encoded' ? accepted.slice(0, 1) : accepted;
  if (used.length === 0) return undefined;
  const extensions = extensionsOf(track).filter(({ id: own, uri }) => media.extensions.get(uri) === own);
  const idOf = (name: RegExp) => extensions.find(({ uri }) => name.test(uri))?.id;
  const types = new Set(used.flatMap(({ payloadType, rtx }) => [payloadType, rtx]));
  return {
    id,
    kind,
    content,
    index,
    payloadTypes: new Map(
      used.map(({ codec, payloadType, rtx }) => [codec, { payloadType, rtx: repairs(media, payloadType, rtx) }]),
    ),
    absoluteSendTimeId: idOf(/abs-send-time$/),
    colourSpaceId: idOf(/color-space$/),
    codecs: track.codecs.filter(({ payloadType }) => types.has(payloadType)),
    extensions,
  };
}

/** A payload type keeps its meaning; H264 in another packetization mode would be another (RFC 6184 section 8.2.2). */
function agrees({ codecs }: OfferedMedia, { codec, payloadType }: OfferedPayload): boolean {
  const answered = codecs.find((each) => each.payloadType === payloadType);
  if (answered === undefined) return true;
  return answered.name === codec.toUpperCase() && answered.parameters.get('packetization-mode') !== '0';
}

function repairs({ codecs }: OfferedMedia, payloadType: number, rtx: number | undefined): number | undefined {
  const answered = codecs.find((codec) => codec.payloadType === rtx && codec.name === 'RTX');
  return answered?.parameters.get('apt') === String(payloadType) ? rtx : undefined;
}
