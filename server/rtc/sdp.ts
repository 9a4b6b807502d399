import { AppError } from '../errors.ts';
import type { RemoteTransportParameters, LocalTransportParameters } from './transport.ts';

/**
 * The part of SDP (RFC 8866, RFC 9429) an answering media server needs: read an offer into plain values, write the
 * answer. Unknown attributes are ignored; whatever would make the session impossible is an error naming it.
 */

export interface OfferedCodec {
  readonly payloadType: number;
  /** Upper case: H264, VP8, OPUS, RTX ... */
  readonly name: string;
  readonly clockRate: number;
  readonly channels: number;
  readonly parameters: ReadonlyMap<string, string>;
  readonly feedback: readonly string[];
}

export interface OfferedMedia {
  readonly kind: string;
  readonly mid: string;
  readonly port: number;
  readonly protocol: string;
  readonly formats: readonly string[];
  readonly direction: 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';
  readonly codecs: readonly OfferedCodec[];
  /** URI -> id */
  readonly extensions: ReadonlyMap<string, number>;
  readonly transport: RemoteTransportParameters | undefined;
  readonly candidates: readonly string[];
  readonly rtcpMux: boolean;
  /** RFC 5506: single feedback messages without a report in front. */
  readonly rtcpReducedSize: boolean;
}

export interface Offer {
  readonly bundle: readonly string[];
  readonly media: readonly OfferedMedia[];
}

const MAX_SDP_BYTES = 128 * 1024;
const MAX_MEDIA = 32;

export const EXTENSION = {
  mid: 'urn:ietf:params:rtp-hdrext:sdes:mid',
  transportSequence: 'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01',
  colourSpace: 'http://www.webrtc.org/experiments/rtp-hdrext/color-space',
  absoluteSendTime: 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time',
} as const;

function invalid(message: string): AppError {
  return new AppError('sdp.invalid', message);
}

/** @throws AppError sdp.invalid */
export function parseOffer(sdp: string): Offer {
  if (typeof sdp !== 'string' || sdp.length > MAX_SDP_BYTES) {
    throw invalid(`The SDP must be text of at most ${MAX_SDP_BYTES} characters.`);
  }
  const lines = sdp.split(/\r\n|\n|\r/).filter((line) => line !== '');
  if (lines[0] !== 'v=0') throw invalid('The SDP does not begin with "v=0".');
  const sections: string[][] = [[]];
  for (const line of lines) {
    if (!/^[a-z]=/.test(line)) throw invalid(`The SDP line "${line.slice(0, 40)}" is not of the form x=value.`);
    if (line.startsWith('m=')) sections.push([]);
    sections.at(-1)?.push(line);
  }
  const [session = [], ...media] = sections;
  if (media.length === 0) throw invalid('The SDP has no media section (m= line).');
  if (media.length > MAX_MEDIA) throw invalid(`The SDP has more than ${MAX_MEDIA} media sections.`);
  const parsed = media.map((section, index) => parseMedia(section, session, index));
  const mids = new Set(parsed.map((section) => section.mid));
  if (mids.size !== parsed.length) throw invalid('Two media sections have the same a=mid.');
  const bundle = attribute(session, 'group:BUNDLE')?.split(' ').filter(Boolean) ?? [];
  return { bundle, media: parsed };
}

function parseMedia(lines: readonly string[], session: readonly string[], index: number): OfferedMedia {
  const match = /^m=(\S+) (\d+)(?:\/\d+)? (\S+) (.+)$/.exec(lines[0] ?? '');
  if (match === null) throw invalid(`The media line "${(lines[0] ?? '').slice(0, 60)}" is malformed.`);
  const [, kind = '', port, protocol = '', formats = ''] = match;
  const has = (name: string) => lines.includes(`a=${name}`) || session.includes(`a=${name}`);
  const direction = (['sendonly', 'recvonly', 'inactive'] as const).find(has) ?? 'sendrecv';
  return {
    kind,
    mid: attribute(lines, 'mid')?.trim() ?? String(index),
    port: Number(port),
    protocol,
    formats: formats.split(' ').filter(Boolean),
    direction,
    codecs: parseCodecs(lines, formats.split(' ')),
    extensions: parseExtensions(lines),
    transport: parseTransport(lines, session),
    candidates: attributes(lines, 'candidate').map((value) => `candidate:${value}`),
    rtcpMux: lines.includes('a=rtcp-mux'),
    rtcpReducedSize: lines.includes('a=rtcp-rsize'),
  };
}

function attribute(lines: readonly string[], name: string): string | undefined {
  return attributes(lines, name)[0];
}

/** Values of `a=name:value` or, for names that carry their own colon, `a=name value`. */
function attributes(lines: readonly string[], name: string): string[] {
  const colon = `a=${name}:`;
  const space = `a=${name} `;
  return lines
    .filter((line) => line.startsWith(colon) || (name.includes(':') && line.startsWith(space)))
    .map((line) => line.slice(colon.length));
}

function parseCodecs(lines: readonly string[], formats: readonly string[]): OfferedCodec[] {
  const codecs = new Map<number, { name: string; clockRate: number; channels: number }>();
  for (const value of attributes(lines, 'rtpmap')) {
    const match = /^(\d{1,3}) ([^/\s]+)\/(\d+)(?:\/(\d+))?/.exec(value);
    if (match === null) continue;
    const [, payloadType, name = '', clockRate, channels] = match;
    codecs.set(Number(payloadType), {
      name: name.toUpperCase(),
      clockRate: Number(clockRate),
      channels: Number(channels ?? 1),
    });
  }
  const parameters = new Map<number, ReadonlyMap<string, string>>();
  for (const value of attributes(lines, 'fmtp')) {
    const match = /^(\d{1,3}) (.*)$/.exec(value);
    if (match !== null) parameters.set(Number(match[1]), parseParameters(match[2] ?? ''));
  }
  const feedback = attributes(lines, 'rtcp-fb').map((value) => /^(\d{1,3}|\*) (.+)$/.exec(value.trim()));
  return formats.flatMap((format) => {
    const payloadType = Number(format);
    const codec = codecs.get(payloadType);
    if (codec === undefined || payloadType > 127) return [];
    return [
      {
        payloadType,
        ...codec,
        parameters: parameters.get(payloadType) ?? new Map<string, string>(),
        feedback: feedback
          .filter((match) => match !== null && (match[1] === '*' || Number(match[1]) === payloadType))
          .map((match) => match?.[2] ?? ''),
      },
    ];
  });
}

function parseParameters(text: string): ReadonlyMap<string, string> {
  const entries = text.split(';').map((part) => {
    const [key = '', ...value] = part.split('=');
    return [key.trim().toLowerCase(), value.join('=').trim()] as const;
  });
  return new Map(entries);
}

function parseExtensions(lines: readonly string[]): ReadonlyMap<string, number> {
  const extensions = new Map<string, number>();
  for (const value of attributes(lines, 'extmap')) {
    const match = /^(\d+)(?:\/\S+)? (\S+)/.exec(value);
    const id = Number(match?.[1]);
    // 15 is reserved and two-byte headers are not sent by us (RFC 8285 section 4.2).
    if (match !== null && id >= 1 && id <= 14) extensions.set(match[2] ?? '', id);
  }
  return extensions;
}

function parseTransport(lines: readonly string[], session: readonly string[]): RemoteTransportParameters | undefined {
  const find = (name: string) => attribute(lines, name) ?? attribute(session, name);
  const usernameFragment = find('ice-ufrag')?.trim();
  const password = find('ice-pwd')?.trim();
  const fingerprints = [...attributes(lines, 'fingerprint'), ...attributes(session, 'fingerprint')].flatMap((value) => {
    const [algorithm, digest] = value.trim().split(/\s+/);
    return algorithm !== undefined && digest !== undefined ? [{ algorithm, value: digest }] : [];
  });
  if (usernameFragment === undefined || password === undefined || fingerprints.length === 0) return undefined;
  const setup = find('setup')?.trim() ?? 'actpass';
  if (setup !== 'actpass' && setup !== 'active' && setup !== 'passive') {
    throw invalid(`a=setup:${setup.slice(0, 20)} is not one of actpass, active, passive.`);
  }
  // RFC 8839 section 5.4: ufrag 4 to 256, password 22 to 256 characters.
  if (!/^[\w+/-]{4,256}$/.test(usernameFragment) || !/^[\w+/-]{22,256}$/.test(password)) {
    throw invalid('a=ice-ufrag or a=ice-pwd is too short or has characters that ICE does not allow.');
  }
  return {
    usernameFragment,
    password,
    fingerprints,
    setup,
    iceLite: session.includes('a=ice-lite'),
  };
}

/** One accepted section of the answer; anything not accepted is answered with port 0. */
export interface AnswerMedia {
  readonly direction: 'recvonly' | 'sendonly';
  readonly codecs: readonly AnswerCodec[];
  readonly extensions: readonly { readonly id: number; readonly uri: string }[];
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
 * @param accepted by index of the offer's media sections
 * @param sessionVersion grows with each answer of a session (RFC 9429 section 5.3.2)
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
      lines.push(...answerLines(media, answer, local, media.mid === mids[0]));
    }
  });
  return `${lines.join('\r\n')}\r\n`;
}

function answerLines(
  media: OfferedMedia,
  answer: AnswerMedia,
  local: LocalTransportParameters,
  first: boolean,
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
  if (media.rtcpReducedSize) lines.push('a=rtcp-rsize');
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
