import { AppError } from '../../errors.ts';
import { expectedDigests } from '../dtls/peer-certificate.ts';
import type { RemoteTransportParameters } from '../transport-parameters.ts';
import { parseOffer, type Offer, type OfferedMedia } from './offer.ts';

/** A server's answer to an offer of ours (RFC 9429 section 5.11): what every kind of offer asks of it. */

const REMEDY = 'Check that the address is a WHIP or WHEP endpoint; if it is, its answer is at fault.';

function invalid(message: string): AppError {
  return new AppError('sdp.invalid', message, { remedy: REMEDY });
}

/** It is SDP, and of no use. */
export function unusable(message: string): AppError {
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

/** A section of the answer that is in use, and what it answers. */
export interface AnsweredSection<T> {
  readonly media: OfferedMedia;
  readonly index: number;
  readonly track: T;
}

/**
 * The sections that the answer does not reject, each beside what was offered.
 * @param direction of the answer; `sendrecv` has both
 * @throws AppError sdp.invalid: other sections than those of the offer (RFC 3264 section 6)
 */
export function answeredSections<T extends { readonly kind: 'video' | 'audio' }>(
  offered: readonly T[],
  answer: Offer,
  direction: 'recvonly' | 'sendonly',
): readonly AnsweredSection<T>[] {
  if (answer.media.length !== offered.length) {
    throw invalid(`The answer has ${answer.media.length} media sections; our offer has ${offered.length}.`);
  }
  const sections = answer.media.map((media, index) => ({ media, index, track: offered[index] as T }));
  for (const { media, index, track } of sections) {
    if (media.kind === track.kind) continue;
    throw invalid(`Section ${index} of the answer is ${media.kind.slice(0, 20)}; that of our offer is ${track.kind}.`);
  }
  return sections.filter(
    ({ media }) => media.port !== 0 && (media.direction === direction || media.direction === 'sendrecv'),
  );
}

/**
 * The one transport of the sections in use. Its attributes may stand at the session, in every section or in the first one
 * alone.
 * @throws AppError sdp.invalid | sdp.unsupported
 */
export function transportOf({ bundle }: Offer, sections: readonly OfferedMedia[]): RemoteTransportParameters {
  const described = sections.find(({ transport }) => transport !== undefined);
  if (described?.transport === undefined) {
    throw invalid('The answer lacks a=ice-ufrag, a=ice-pwd or a=fingerprint.');
  }
  const { transport } = described;
  const apart = sections.some((section) => {
    const other = section.transport?.usernameFragment ?? transport.usernameFragment;
    return !bundle.includes(section.mid) && other !== transport.usernameFragment;
  });
  if (apart) throw unusable('The answer does not bundle its media (a=group:BUNDLE).');
  if (!sections.some(({ rtcpMux }) => rtcpMux)) {
    throw unusable('The answer does not multiplex RTCP (a=rtcp-mux).');
  }
  // DTLS would refuse weak fingerprints too, but only after the path is there.
  expectedDigests(transport.fingerprints);
  return transport;
}
