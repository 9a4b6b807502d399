import type { LocalTransportParameters } from '../transport-parameters.ts';
import type { Offer, OfferedMedia } from './offer.ts';

/** The answer to an offer (RFC 9429 section 5.3, RFC 8866); own-offer.ts makes offers of the same sections. */

/** One accepted section of the answer; anything not accepted is answered with port 0. */
export interface AnswerMedia {
  readonly direction: 'recvonly' | 'sendonly';
  readonly codecs: readonly AnswerCodec[];
  readonly extensions: readonly { readonly id: number; readonly uri: string }[];
  /** Simulcast encodings that are taken: all that are offered, since OBS refuses an answer that leaves one out. */
  readonly receiveRids?: readonly string[];
  /** Session bandwidth in the peer's sending direction (b=AS and b=TIAS). */
  readonly maxBitrateBps?: number | undefined;
  /** What we send: a=msid, a=ssrc and the FID group. */
  readonly send?: {
    readonly streamId: string;
    readonly trackId: string;
    readonly cname: string;
    readonly ssrc: number;
    readonly rtxSsrc: number | undefined;
  };
}

export interface AnswerCodec {
  readonly payloadType: number;
  readonly name: string;
  readonly clockRate: number;
  readonly channels: number;
  readonly parameters?: string;
  readonly feedback: readonly string[];
}

/**
 * The size is linear in the offer's: of a section that is not accepted the m= line comes back, of an accepted one only what
 * was chosen, at most 128 codecs with three feedback lines each.
 * @param accepted by index of the offer's media sections
 * @param session its version grows with each answer of a session (RFC 9429 section 5.3.2)
 */
export function buildAnswer(
  offer: Offer,
  accepted: ReadonlyMap<number, AnswerMedia>,
  local: LocalTransportParameters,
  session: { readonly id: string; readonly version: number },
): string {
  const mids = offer.media.filter((_, index) => accepted.has(index)).map((media) => media.mid);
  const lines = ['v=0', `o=- ${session.id} ${session.version} IN IP4 127.0.0.1`, 's=-', 't=0 0'];
  if (offer.bundle.length > 0) lines.push(`a=group:BUNDLE ${mids.join(' ')}`);
  lines.push('a=msid-semantic: WMS *');
  offer.media.forEach((media, index) => {
    const answer = accepted.get(index);
    if (answer === undefined) {
      lines.push(`m=${media.kind} 0 ${media.protocol} ${media.formats.join(' ')}`, 'c=IN IP4 0.0.0.0');
      lines.push('a=inactive', `a=mid:${media.mid}`);
    } else {
      const transport = { local, first: media.mid === mids[0], bundled: offer.bundle.includes(media.mid) };
      for (const line of mediaLines(media, answer, transport)) lines.push(line);
    }
  });
  return `${lines.join('\r\n')}\r\n`;
}

/** A section of a description of ours. @param first of its bundle: it has the candidates */
export function mediaLines(
  media: Pick<OfferedMedia, 'kind' | 'protocol' | 'mid' | 'rtcpReducedSize'>,
  answer: AnswerMedia,
  {
    local,
    first,
    bundled,
  }: { readonly local: LocalTransportParameters; readonly first: boolean; readonly bundled: boolean },
): string[] {
  const payloadTypes = answer.codecs.map((codec) => codec.payloadType).join(' ');
  const lines = [`m=${media.kind} 9 ${media.protocol} ${payloadTypes}`, 'c=IN IP4 0.0.0.0'];
  if (answer.maxBitrateBps !== undefined) {
    lines.push(`b=AS:${Math.ceil(answer.maxBitrateBps / 1000)}`, `b=TIAS:${Math.round(answer.maxBitrateBps)}`);
  }
  lines.push('a=rtcp:9 IN IP4 0.0.0.0');
  if (first) {
    lines.push(...local.candidates.map((candidate) => `a=${candidate}`));
    if (local.gatheringComplete) lines.push('a=end-of-candidates');
  }
  lines.push(
    `a=ice-ufrag:${local.usernameFragment}`,
    `a=ice-pwd:${local.password}`,
    'a=ice-options:trickle',
    `a=fingerprint:sha-256 ${local.fingerprint}`,
    `a=setup:${local.setup}`,
    `a=mid:${media.mid}`,
    ...answer.extensions.map(({ id, uri }) => `a=extmap:${id} ${uri}`),
    `a=${answer.direction}`,
    'a=rtcp-mux',
  );
  // RFC 9725 section 4.4.1 asks for it in every bundled section.
  if (bundled) lines.push('a=rtcp-mux-only');
  if (media.rtcpReducedSize) lines.push('a=rtcp-rsize');
  const rids = answer.receiveRids ?? [];
  lines.push(...rids.map((rid) => `a=rid:${rid} recv`));
  if (rids.length > 0) lines.push(`a=simulcast:recv ${rids.join(';')}`);
  const { send } = answer;
  if (send !== undefined) lines.push(`a=msid:${send.streamId} ${send.trackId}`);
  for (const codec of answer.codecs) {
    const channels = codec.channels > 1 ? `/${codec.channels}` : '';
    lines.push(`a=rtpmap:${codec.payloadType} ${codec.name}/${codec.clockRate}${channels}`);
    lines.push(...codec.feedback.map((feedback) => `a=rtcp-fb:${codec.payloadType} ${feedback}`));
    if (codec.parameters !== undefined) lines.push(`a=fmtp:${codec.payloadType} ${codec.parameters}`);
  }
  if (send !== undefined) {
    if (send.rtxSsrc !== undefined) lines.push(`a=ssrc-group:FID ${send.ssrc} ${send.rtxSsrc}`);
    for (const ssrc of [send.ssrc, send.rtxSsrc]) {
      if (ssrc === undefined) continue;
      lines.push(`a=ssrc:${ssrc} cname:${send.cname}`, `a=ssrc:${ssrc} msid:${send.streamId} ${send.trackId}`);
    }
  }
  return lines;
}
