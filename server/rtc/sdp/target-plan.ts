import { AppError } from '../../errors.ts';
import { expectedDigests } from '../dtls/peer-certificate.ts';
import type { RemoteTransportParameters } from '../transport-parameters.ts';
import { parseOffer, type Offer, type OfferedMedia } from './offer.ts';
import { extensionsOf, type OfferedPayload, type OfferedTrack } from './own-offer.ts';
import type { ViewerPlan, ViewerTrackPlan } from './viewer-plan.ts';

/** What a server's answer takes of our offer (RFC 9725 section 4.4, RFC 9429 section 5.11). Pure: no sockets, no state. */

const REMEDY = 'Check that the address is a WHIP endpoint; if it is, its answer is at fault.';

function invalid(message: string): AppError {
  return new AppError('sdp.invalid', message, { remedy: REMEDY });
}

function unsupported(message: string): AppError {
  return new AppError('sdp.unsupported', message, { remedy: REMEDY });
}

/** @throws AppError sdp.invalid */
export function parseAnswer(sdp: string): Offer {
  try {
    return parseOffer(sdp);
  } catch (thrown) {
    const error = AppError.from(thrown);
    throw new AppError(error.code, `The answer cannot be read: ${error.message}`, { remedy: REMEDY, cause: error });
  }
}

/**
 * A server may leave the audio out, not the video. Attributes of the transport may stand at the session, in every section or
 * in the first one alone.
 * @throws AppError sdp.invalid | sdp.unsupported
 */
export function planTarget(offered: readonly OfferedTrack[], answer: Offer): ViewerPlan {
  if (answer.media.length !== offered.length) {
    throw invalid(`The answer has ${answer.media.length} media sections; our offer has ${offered.length}.`);
  }
  const sections = answer.media.map((media, index) => ({ media, index, track: offered[index] as OfferedTrack }));
  for (const { media, index, track } of sections) {
    if (media.kind === track.kind) continue;
    throw invalid(`Section ${index} of the answer is ${media.kind.slice(0, 20)}; that of our offer is ${track.kind}.`);
  }
  const taken = sections.filter(
    ({ media }) => media.port !== 0 && (media.direction === 'recvonly' || media.direction === 'sendrecv'),
  );
  const tracks = taken.flatMap(({ media, index, track }) => planTrack(media, index, track) ?? []);
  const video = tracks.find(({ kind }) => kind === 'video');
  if (video === undefined) {
    const names = (offered.find(({ kind }) => kind === 'video')?.payloads ?? []).map(({ codec }) => codec).join(', ');
    throw unsupported(`The answer does not take the video that was offered (${names}).`);
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

function transportOf({ bundle }: Offer, sections: readonly OfferedMedia[]): RemoteTransportParameters {
  const described = sections.find(({ transport }) => transport !== undefined);
  if (described?.transport === undefined) {
    throw invalid('The answer lacks a=ice-ufrag, a=ice-pwd or a=fingerprint.');
  }
  const { transport } = described;
  const apart = sections.some((section) => {
    const other = section.transport?.usernameFragment ?? transport.usernameFragment;
    return !bundle.includes(section.mid) && other !== transport.usernameFragment;
  });
  if (apart) throw unsupported('The answer does not bundle its media (a=group:BUNDLE).');
  if (!sections.some(({ rtcpMux }) => rtcpMux)) {
    throw unsupported('The answer does not multiplex RTCP (a=rtcp-mux).');
  }
  // DTLS would refuse weak fingerprints too, but only after the path is there.
  expectedDigests(transport.fingerprints);
  return transport;
}
