/** Offers that no client makes: valid lines in numbers and forms that once cost the server seconds or megabytes. */

export interface PlainOfferOptions {
  readonly kind?: 'publish' | 'watch';
  /** The payload types of the m= line. */
  readonly formats?: string;
  readonly candidates?: readonly string[];
  readonly extraSession?: readonly string[];
  readonly extraMedia?: readonly string[];
  readonly usernameFragment?: string;
  readonly password?: string;
  readonly setup?: string;
  /** Of SHA-256. */
  readonly fingerprint?: string;
}

const FINGERPRINT = Array.from({ length: 32 }, () => 'AB').join(':');

/** A minimal sane offer; unless given, its ICE and DTLS parameters are made up. */
export function plainOffer({
  kind = 'publish',
  formats = '96 97',
  candidates = [],
  extraSession = [],
  extraMedia = [],
  usernameFragment = 'abcd',
  password = 'a'.repeat(24),
  setup = 'actpass',
  fingerprint = FINGERPRINT,
}: PlainOfferOptions = {}): string {
  return [
    'v=0',
    'o=- 1 1 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    'a=group:BUNDLE 0',
    ...extraSession,
    `m=video 9 UDP/TLS/RTP/SAVPF ${formats}`,
    'c=IN IP4 0.0.0.0',
    'a=mid:0',
    kind === 'publish' ? 'a=sendonly' : 'a=recvonly',
    'a=rtcp-mux',
    'a=rtcp-rsize',
    `a=ice-ufrag:${usernameFragment}`,
    `a=ice-pwd:${password}`,
    `a=fingerprint:sha-256 ${fingerprint}`,
    `a=setup:${setup}`,
    'a=rtpmap:96 VP8/90000',
    'a=rtcp-fb:96 nack',
    'a=rtcp-fb:96 nack pli',
    'a=rtcp-fb:96 transport-cc',
    'a=rtcp-fb:96 goog-remb',
    'a=rtpmap:97 rtx/90000',
    'a=fmtp:97 apt=96',
    ...extraMedia,
    ...candidates.map((candidate) => `a=${candidate}`),
    '',
  ].join('\r\n');
}

const lines = (count: number, line: (index: number) => string) => Array.from({ length: count }, (_, at) => line(at));
const repeated = (text: string, count: number) => Array<string>(count).fill(text).join(' ');

/** By name; those that begin with `viewer` ask to watch. */
export function hostileOffers(): Readonly<Record<string, string>> {
  return {
    'the same payload type 10 000 times': plainOffer({ formats: repeated('96', 10_000) }),
    '9000 VP8 and 9000 RTX payload types': plainOffer({ formats: `${repeated('96', 9000)} ${repeated('97', 9000)}` }),
    'a payload type 8000 times with 1500 wildcard feedback lines': plainOffer({
      formats: repeated('96', 8000),
      extraMedia: lines(1500, () => 'a=rtcp-fb:* nack'),
    }),
    'distinct payload types with 1500 wildcard feedback lines': plainOffer({
      formats: lines(128, String).join(' '),
      extraMedia: [
        ...lines(128, (at) => `a=rtpmap:${at} VP8/90000`),
        ...lines(1500, (at) => `a=rtcp-fb:* nack${at % 40}`),
      ],
    }),
    '32 media sections behind 60 kB of session lines': plainOffer({
      extraSession: lines(9000, () => 'a=x'),
      extraMedia: lines(31, (at) => `m=a ${at} x 1`),
    }),
    '32 media sections with 120 formats each': plainOffer({
      extraMedia: lines(31, (at) => `m=audio ${at} RTP/AVP ${lines(120, String).join(' ')}`),
    }),
    '60 kB of candidates': plainOffer({
      candidates: lines(1000, (at) => `candidate:${at} 1 udp 1 127.0.0.1 ${1024 + at} typ host`),
    }),
    '60 kB of one fmtp line': plainOffer({ extraMedia: [`a=fmtp:96 ${'a=b;'.repeat(15_000)}`] }),
    '1800 fmtp lines': plainOffer({ extraMedia: lines(1800, (at) => `a=fmtp:96 a${at}=b`) }),
    '60 kB of fingerprints': plainOffer({ extraMedia: lines(3000, () => 'a=fingerprint:sha-256 AA') }),
    '60 kB of blank lines': `${plainOffer()}${'\r\n'.repeat(30_000)}`,
    'one line of 60 kB': plainOffer({ extraSession: [`a=${'x'.repeat(60_000)}`] }),
    'more than 64 kB': plainOffer({ extraMedia: lines(20_000, () => 'a=y') }),
    'viewer: repeated payload types': plainOffer({
      kind: 'watch',
      formats: `${repeated('96', 9000)} ${repeated('97', 9000)}`,
    }),
    'viewer: a payload type 8000 times with 1500 wildcard feedback lines': plainOffer({
      kind: 'watch',
      formats: repeated('96', 8000),
      extraMedia: lines(1500, () => 'a=rtcp-fb:* nack'),
    }),
  };
}
