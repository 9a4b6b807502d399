import { AppError } from '../../errors.ts';
import { checkIceCredentials, type RemoteTransportParameters } from '../transport-parameters.ts';
import { splitSections, type SdpSection } from './sections.ts';

/**
 * The part of SDP (RFC 8866, RFC 9429) an answering media server needs, read from an offer into plain values. Unknown
 * attributes are ignored; what would make the session impossible is an error that names it.
 *
 * Worst case: linear in the text, which sections.ts limits; a codec refers to at most 64 feedback values.
 */

export interface OfferedCodec {
  readonly payloadType: number;
  /** Upper case: H264, VP8, OPUS, RTX ... */
  readonly name: string;
  readonly clockRate: number;
  readonly channels: number;
  readonly parameters: ReadonlyMap<string, string>;
  /** Without repetitions, wildcards (a=rtcp-fb:*) included. */
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
  /** Of a=ssrc lines (RFC 5576), each once; RTX included. */
  readonly ssrcs: readonly number[];
  /** MediaStreams that the track belongs to (a=msid, RFC 8830); empty: none, or none is named. */
  readonly streams: readonly string[];
  /** RIDs of the encodings that are sent (RFC 8853 section 5), in the order of the sender's preference; empty without simulcast. */
  readonly sendRids: readonly string[];
  readonly bundleOnly: boolean;
  readonly rtcpMux: boolean;
  /** RFC 5506: single feedback messages without a report in front. */
  readonly rtcpReducedSize: boolean;
}

export interface Offer {
  readonly bundle: readonly string[];
  readonly media: readonly OfferedMedia[];
}

export const EXTENSION = {
  mid: 'urn:ietf:params:rtp-hdrext:sdes:mid',
  rid: 'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id',
  repairedRid: 'urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id',
  transportSequence: 'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01',
  colourSpace: 'http://www.webrtc.org/experiments/rtp-hdrext/color-space',
  absoluteSendTime: 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time',
} as const;

const DIRECTIONS = ['sendonly', 'recvonly', 'inactive', 'sendrecv'] as const;
/** RTP payload types are 7 bits. */
const MAX_FORMATS = 128;
/** Feedback values of one payload type, and of all (a=rtcp-fb:*). Browsers and pion list seven, repetitions included. */
const MAX_FEEDBACK = 32;
const MAX_PARAMETERS = 64;
/** Encodings of one simulcast track; browsers and OBS send three or four. */
const MAX_ENCODINGS = 8;

function invalid(message: string): AppError {
  return new AppError('sdp.invalid', message);
}

/** @throws AppError sdp.invalid */
export function parseOffer(sdp: string): Offer {
  const { session, media } = splitSections(sdp);
  if (media.length === 0) throw invalid('The SDP has no media section (m= line).');
  const parsed = media.map((section, index) => parseMedia(section, session, index));
  const mids = new Set(parsed.map((section) => section.mid));
  if (mids.size !== parsed.length) throw invalid('Two media sections have the same a=mid.');
  const group = session.all('group').find((value) => value.startsWith('BUNDLE '));
  return { bundle: group?.split(' ').slice(1).filter(Boolean) ?? [], media: parsed };
}

function parseMedia(section: SdpSection, session: SdpSection, index: number): OfferedMedia {
  const match = /^m=(\S+) (\d{1,5})(?:\/\d{1,5})? (\S+) (.+)$/.exec(section.line);
  if (match === null) throw invalid(`The media line "${section.line.slice(0, 60)}" is malformed.`);
  const [, kind = '', port, protocol = '', list = ''] = match;
  const formats = parseFormats(list, protocol);
  return {
    kind,
    mid: section.first('mid')?.trim() ?? String(index),
    port: Number(port),
    protocol,
    formats,
    direction: directionOf(section) ?? directionOf(session) ?? 'sendrecv',
    codecs: parseCodecs(section, formats),
    extensions: parseExtensions(section),
    transport: parseTransport(section, session),
    candidates: section.all('candidate').map((value) => `candidate:${value}`),
    ssrcs: [...new Set(section.all('ssrc').map((value) => Number.parseInt(value, 10)))].filter(
      (ssrc) => ssrc > 0 && ssrc <= 0xffffffff,
    ),
    streams: parseStreams(section),
    sendRids: parseSendRids(section),
    bundleOnly: section.has('bundle-only'),
    rtcpMux: section.has('rtcp-mux') || section.has('rtcp-mux-only'),
    rtcpReducedSize: section.has('rtcp-rsize'),
  };
}

function directionOf(section: SdpSection): OfferedMedia['direction'] | undefined {
  return DIRECTIONS.find((direction) => section.has(direction));
}

/** Payload types of an RTP section: each at most once (RFC 8866 section 5.14 lists them; a repetition means nothing). */
function parseFormats(list: string, protocol: string): readonly string[] {
  const formats = list.split(' ').filter(Boolean);
  if (formats.length > MAX_FORMATS) {
    throw invalid(`A media line lists ${formats.length} formats; at most ${MAX_FORMATS} are possible.`);
  }
  if (!protocol.includes('RTP/')) return formats;
  const seen = new Set<string>();
  for (const format of formats) {
    if (seen.has(format)) throw invalid(`A media line lists the payload type ${format.slice(0, 10)} twice.`);
    seen.add(format);
  }
  return formats;
}

function parseCodecs(section: SdpSection, formats: readonly string[]): OfferedCodec[] {
  const codecs = new Map<number, { name: string; clockRate: number; channels: number }>();
  for (const value of section.all('rtpmap')) {
    const match = /^(\d{1,3}) ([^/\s]+)\/(\d{1,9})(?:\/(\d{1,3}))?/.exec(value);
    if (match === null) continue;
    const [, payloadType, name = '', clockRate, channels] = match;
    codecs.set(Number(payloadType), {
      name: name.toUpperCase(),
      clockRate: Number(clockRate),
      channels: Number(channels ?? 1),
    });
  }
  const parameters = new Map<number, ReadonlyMap<string, string>>();
  for (const value of section.all('fmtp')) {
    const match = /^(\d{1,3}) (.*)$/.exec(value);
    if (match !== null) parameters.set(Number(match[1]), parseParameters(match[2] ?? ''));
  }
  const feedbackOf = parseFeedback(section);
  return formats.flatMap((format) => {
    const payloadType = /^\d{1,3}$/.test(format) ? Number(format) : NaN;
    const codec = codecs.get(payloadType);
    if (codec === undefined || payloadType > 127) return [];
    const empty = new Map<string, string>();
    return [
      {
        payloadType,
        ...codec,
        parameters: parameters.get(payloadType) ?? empty,
        feedback: feedbackOf(payloadType),
      },
    ];
  });
}

function parseFeedback(section: SdpSection): (payloadType: number) => readonly string[] {
  const byType = new Map<string, Set<string>>();
  for (const value of section.all('rtcp-fb')) {
    const match = /^(\d{1,3}|\*) (.+)$/.exec(value.trim());
    if (match === null) continue;
    const [, payloadType = '', feedback = ''] = match;
    let values = byType.get(payloadType);
    if (values === undefined) byType.set(payloadType, (values = new Set()));
    values.add(feedback);
    if (values.size > MAX_FEEDBACK) {
      throw invalid(`A payload type has more than ${MAX_FEEDBACK} different a=rtcp-fb lines.`);
    }
  }
  const forAll = byType.get('*') ?? new Set<string>();
  const wildcard = [...forAll];
  return (payloadType) => {
    const own = byType.get(String(payloadType));
    return own === undefined ? wildcard : [...own, ...wildcard.filter((value) => !own.has(value))];
  };
}

function parseParameters(text: string): ReadonlyMap<string, string> {
  const parts = text.split(';');
  if (parts.length > MAX_PARAMETERS) {
    throw invalid(`An a=fmtp line has ${parts.length} parameters; at most ${MAX_PARAMETERS} are read.`);
  }
  return new Map(
    parts.map((part) => {
      const [key = '', ...value] = part.split('=');
      return [key.trim().toLowerCase(), value.join('=').trim()] as const;
    }),
  );
}

/** a=simulcast:send 1,4;2;~3: alternatives count as their first, paused ones (~) as any other. */
function parseSendRids(section: SdpSection): readonly string[] {
  const list = section
    .all('simulcast')
    .map((value) => /(?:^|\s)send (\S+)/.exec(value)?.[1])
    .find((value) => value !== undefined);
  const declared = new Set(section.all('rid').map((value) => /^([\w-]{1,32}) send\b/.exec(value)?.[1]));
  const rids = (list ?? '').split(';').map((entry) => entry.split(',')[0]?.replace(/^~/, '') ?? '');
  return [...new Set(rids)].filter((rid) => declared.has(rid)).slice(0, MAX_ENCODINGS);
}

/** `-` stands for no MediaStream. */
function parseStreams(section: SdpSection): readonly string[] {
  const ids = section.all('msid').map((value) => value.trim().split(' ')[0] ?? '');
  return [...new Set(ids)].filter((id) => id !== '' && id !== '-');
}

function parseExtensions(section: SdpSection): ReadonlyMap<string, number> {
  const extensions = new Map<string, number>();
  for (const value of section.all('extmap')) {
    const match = /^(\d{1,5})(?:\/\S+)? (\S+)/.exec(value);
    const id = Number(match?.[1]);
    // 15 is reserved and two-byte headers are not sent by us (RFC 8285 section 4.2).
    if (match !== null && id >= 1 && id <= 14) extensions.set(match[2] ?? '', id);
  }
  return extensions;
}

function parseTransport(section: SdpSection, session: SdpSection): RemoteTransportParameters | undefined {
  const find = (name: string) => section.first(name) ?? session.first(name);
  const usernameFragment = find('ice-ufrag')?.trim();
  const password = find('ice-pwd')?.trim();
  const fingerprints = [...section.all('fingerprint'), ...session.all('fingerprint')].flatMap((value) => {
    const [algorithm, digest] = value.trim().split(/\s+/);
    return algorithm !== undefined && digest !== undefined ? [{ algorithm, value: digest }] : [];
  });
  if (usernameFragment === undefined || password === undefined || fingerprints.length === 0) return undefined;
  const setup = find('setup')?.trim() ?? 'actpass';
  if (setup !== 'actpass' && setup !== 'active' && setup !== 'passive') {
    throw invalid(`a=setup:${setup.slice(0, 20)} is not one of actpass, active, passive.`);
  }
  checkIceCredentials(usernameFragment, password);
  return {
    usernameFragment,
    password,
    fingerprints,
    setup,
    iceLite: session.has('ice-lite'),
  };
}
