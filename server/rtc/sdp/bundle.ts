import { AppError } from '../../errors.ts';
import { expectedDigests } from '../dtls/peer-certificate.ts';
import type { RemoteTransportParameters } from '../transport-parameters.ts';
import type { Offer, OfferedMedia } from './offer.ts';

/** Which sections of an offer can be used, and the one transport they share. */

/** Everything goes over one transport (BUNDLE, RFC 9143) with RTP and RTCP together. @throws AppError */
export function commonTransport(offer: Offer, indices: readonly number[]): RemoteTransportParameters {
  const sections = indices.map((index) => offer.media[index] as OfferedMedia);
  const first = sections[0];
  if (first === undefined) throw new AppError('sdp.unsupported', 'The offer has no usable audio or video section.');
  const bundled = offer.media.find((media) => media.mid === offer.bundle[0] && media.transport !== undefined);
  for (const section of sections) {
    if (!/^(UDP|TCP)\/TLS\/RTP\/SAVPF?$/.test(section.protocol)) {
      throw new AppError('sdp.unsupported', `Media over ${section.protocol} is not supported, only DTLS-SRTP.`);
    }
    // A bundle-only section may leave the transport's attributes to the first of its bundle (RFC 9143 section 7.1.3).
    const rtcpMux = section.rtcpMux || (section.bundleOnly && bundled?.rtcpMux === true);
    if (!rtcpMux) throw new AppError('sdp.unsupported', 'The offer does not multiplex RTCP (a=rtcp-mux).');
    if (sections.length > 1 && !offer.bundle.includes(section.mid)) {
      throw new AppError('sdp.unsupported', 'The offer does not bundle its media (a=group:BUNDLE).');
    }
  }
  const transport = (offer.bundle.includes(first.mid) ? bundled : undefined)?.transport ?? first.transport;
  if (transport === undefined) {
    throw new AppError('sdp.invalid', 'The offer lacks a=ice-ufrag, a=ice-pwd or a=fingerprint.');
  }
  // DTLS would refuse weak fingerprints too, but only after the offer has taken a place.
  expectedDigests(transport.fingerprints);
  return transport;
}

/** Sections that are neither rejected nor inactive, by kind, as indices. */
export function usableSections(
  offer: Offer,
  kind: 'audio' | 'video',
  directions: readonly OfferedMedia['direction'][],
): number[] {
  return offer.media.flatMap((media, index) => {
    const offered = media.port !== 0 || offer.bundle.includes(media.mid);
    return media.kind === kind && offered && directions.includes(media.direction) ? [index] : [];
  });
}

/** One section, by its index in the offer. */
export interface Section {
  readonly index: number;
  readonly media: OfferedMedia;
}

/** The section at an index, if there is one. */
export function sectionAt(offer: Offer, index: number | undefined): Section | undefined {
  const media = index === undefined ? undefined : offer.media[index];
  return index === undefined || media === undefined ? undefined : { index, media };
}
