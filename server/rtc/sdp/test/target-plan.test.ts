import { describe, expect, it } from 'vitest';
import type { SourceCodec } from '../../../media/types.ts';
import { parseOffer } from '../offer.ts';
import { buildOffer, offeredTracks } from '../own-offer.ts';
import { planPublisher } from '../publisher-plan.ts';
import { parseAnswer } from '../own-answer.ts';
import { planTarget } from '../target-plan.ts';
import { codeOf } from './material.ts';

/** Our offer as a server reads it, and answers as servers write them. */

const LOCAL = {
  usernameFragment: 'abcd',
  password: 'p'.repeat(24),
  fingerprint: Array(32).fill('AA').join(':'),
  setup: 'actpass' as const,
  candidates: ['candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host'],
  gatheringComplete: true,
};
const OFFERED = (codecs: readonly SourceCodec[] = ['H264', 'VP8'], track: 'result' | 'source' = 'result') =>
  offeredTracks({ track, codecs, maxOutput: { width: 1280, height: 720 } });
const NAMES = { sessionId: '7', streamId: 'stream', cname: 'cname' };

const TRANSPORT = [
  'a=ice-ufrag:wxyz',
  `a=ice-pwd:${'q'.repeat(24)}`,
  `a=fingerprint:sha-256 ${Array(32).fill('BB').join(':')}`,
  'a=setup:passive',
];
/** Of a section that leaves the transport to others, and a transport with a digest that DTLS does not take. */
const BARE = ['a=recvonly', 'a=rtcp-mux'];
const WEAK = [...TRANSPORT.slice(0, 2), 'a=fingerprint:md5 AA'];
const CANDIDATE = 'a=candidate:1 1 udp 2130706431 203.0.113.9 6000 typ host';

interface AnswerParts {
  readonly session?: readonly string[];
  readonly audio?: readonly string[];
  readonly video?: readonly string[];
  readonly videoLine?: string;
  readonly audioLine?: string;
}

/** Every section says everything, unless a part is given. */
function answer(parts: AnswerParts = {}): string {
  const common = (mid: string) => [...TRANSPORT, `a=mid:${mid}`, 'a=recvonly', 'a=rtcp-mux'];
  const { session = ['a=group:BUNDLE 0 1'], audioLine = 'm=audio 9 UDP/TLS/RTP/SAVPF 111' } = parts;
  const { audio = [...common('0'), CANDIDATE, 'a=rtpmap:111 opus/48000/2'] } = parts;
  const { videoLine = 'm=video 9 UDP/TLS/RTP/SAVPF 96 97' } = parts;
  const { video = [...common('1'), 'a=rtpmap:96 H264/90000', 'a=rtpmap:97 rtx/90000', 'a=fmtp:97 apt=96'] } = parts;
  return [
    'v=0',
    'o=- 1 1 IN IP4 0.0.0.0',
    's=-',
    't=0 0',
    ...session,
    audioLine,
    ...audio,
    videoLine,
    ...video,
    '',
  ].join('\r\n');
}

const plan = (parts: AnswerParts = {}, offered = OFFERED()) => planTarget(offered, parseAnswer(answer(parts)));
const refusal = (parts: AnswerParts) => codeOf(() => plan(parts));

describe('our offer', () => {
  it('is one that this server would take itself: one transport, sound and picture, SSRCs announced', () => {
    const tracks = OFFERED();
    const offer = parseOffer(buildOffer(tracks, LOCAL, NAMES));
    const taken = planPublisher(offer, { startBitrateBps: 1, maxBitrateBps: undefined });
    expect(taken.transport).toMatchObject({ usernameFragment: 'abcd', setup: 'actpass', iceLite: false });
    expect(taken.candidates).toEqual(LOCAL.candidates);
    expect(taken.tracks.map(({ kind, codecs }) => [kind, ...codecs.values()])).toEqual([
      ['audio', 'opus'],
      ['video', 'H264', 'VP8'],
    ]);
    const [audio, video] = tracks;
    expect(taken.tracks.map(({ ssrcs }) => ssrcs)).toEqual([
      [audio?.ssrcs.ssrc],
      [video?.ssrcs.ssrc, video?.ssrcs.rtxSsrc],
    ]);
    expect(offer.bundle).toEqual(['0', '1']);
    expect(offer.media.every(({ direction, rtcpMux }) => direction === 'sendonly' && rtcpMux)).toBe(true);
  });

  it('names the level that the result needs, stereo, and what the far side may ask for', () => {
    const text = buildOffer(OFFERED(), LOCAL, NAMES);
    expect(text).toContain('a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e020\r\n');
    expect(text).toContain('a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1\r\n');
    for (const feedback of ['goog-remb', 'nack', 'nack pli', 'ccm fir']) {
      expect(text).toContain(`a=rtcp-fb:96 ${feedback}\r\n`);
    }
    // RFC 9725 section 4.4.1.
    expect(text.match(/a=rtcp-mux-only/g)).toHaveLength(2);
    expect(text.match(/a=msid:stream /g)).toHaveLength(2);
    expect(text.match(/a=candidate/g)).toHaveLength(1);
    expect(text).not.toContain('transport-cc');
  });

  it('of the source has its codec alone, and its colours', () => {
    const text = buildOffer(OFFERED(['VP9'], 'source'), LOCAL, NAMES);
    expect(text).toContain('m=video 9 UDP/TLS/RTP/SAVPF 100 101\r\n');
    expect(text).toContain('color-space');
  });
});

describe('an answer', () => {
  it('chooses the codec: the first it lists, with RTX and extensions only where it repeats them', () => {
    const both = plan();
    expect(both.resultCodec).toBe('H264');
    expect([...(both.tracks.get('result')?.payloadTypes ?? [])]).toEqual([['H264', { payloadType: 96, rtx: 97 }]]);
    expect(both.tracks.get('result')?.absoluteSendTimeId).toBeUndefined();
    expect(both.candidates).toEqual([CANDIDATE.slice(2)]);
    expect(both.transport).toMatchObject({ usernameFragment: 'wxyz', setup: 'passive', iceLite: false });
    const remb = 'a=extmap:1 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time';
    const vp8 = plan({
      videoLine: 'm=video 9 UDP/TLS/RTP/SAVPF 98 96',
      video: [...TRANSPORT, 'a=mid:1', 'a=recvonly', 'a=rtcp-mux', remb, 'a=rtpmap:98 VP8/90000'],
    });
    expect(vp8.resultCodec).toBe('VP8');
    expect([...(vp8.tracks.get('result')?.payloadTypes ?? [])]).toEqual([['VP8', { payloadType: 98, rtx: undefined }]]);
    expect(vp8.tracks.get('result')?.absoluteSendTimeId).toBe(1);
  });

  it('may say the transport once: in the first section, or for the session', () => {
    const bare = ['a=recvonly', 'a=mid:1', 'a=rtpmap:96 H264/90000'];
    const first = plan({ video: bare });
    const session = plan({
      session: ['a=group:BUNDLE 0 1', 'a=ice-lite', ...TRANSPORT],
      audio: ['a=recvonly', 'a=mid:0', 'a=rtcp-mux', CANDIDATE],
      video: bare,
    });
    expect(first.transport).toMatchObject({ usernameFragment: 'wxyz', iceLite: false });
    expect(session.transport).toMatchObject({ usernameFragment: 'wxyz', iceLite: true });
    expect([...session.tracks.keys()]).toEqual(['audio', 'result']);
  });

  it('may leave the mids, the group, rtpmap and the roles out', () => {
    const bare = [...TRANSPORT.slice(0, 3), 'a=recvonly', 'a=rtcp-mux'];
    const sloppy = plan({ session: [], audio: bare, video: bare });
    expect([...sloppy.tracks.keys()]).toEqual(['audio', 'result']);
    expect(sloppy.transport.setup).toBe('actpass');
  });

  it('may refuse the sound', () => {
    const rejected = plan({ audioLine: 'm=audio 0 UDP/TLS/RTP/SAVPF 111', audio: ['a=inactive', 'a=mid:0'] });
    expect([...rejected.tracks.keys()]).toEqual(['result']);
    const inactive = plan({ audio: [...TRANSPORT, 'a=inactive', 'a=mid:0', 'a=rtcp-mux'] });
    expect([...inactive.tracks.keys()]).toEqual(['result']);
  });

  it('of the source may take several codecs', () => {
    const source = plan({ videoLine: 'm=video 9 UDP/TLS/RTP/SAVPF 98 100' }, OFFERED(['H264', 'VP8', 'VP9'], 'source'));
    expect([...(source.tracks.get('source')?.payloadTypes.keys() ?? [])]).toEqual(['VP8', 'VP9']);
  });

  it.each<[string, AnswerParts, RegExp]>([
    ['no video', { videoLine: 'm=video 0 UDP/TLS/RTP/SAVPF 96' }, /unsupported.*does not take the video.*H264, VP8/],
    ['a video that it sends', { video: [...TRANSPORT, 'a=sendonly', 'a=rtcp-mux'] }, /does not take the video/],
    ['a codec that was not offered', { videoLine: 'm=video 9 UDP/TLS/RTP/SAVPF 45' }, /does not take the video/],
    [
      'another codec under our payload type',
      { video: [...TRANSPORT, 'a=recvonly', 'a=rtcp-mux', 'a=rtpmap:96 AV1/90000'] },
      /does not take the video/,
    ],
    [
      'H264 in packetization-mode 0',
      {
        video: [...TRANSPORT, 'a=recvonly', 'a=rtcp-mux', 'a=rtpmap:96 H264/90000', 'a=fmtp:96 packetization-mode=0'],
      },
      /does not take the video/,
    ],
    ['sections in another order', { audioLine: 'm=video 9 UDP/TLS/RTP/SAVPF 96' }, /invalid.*Section 0 .* is video/],
    ['too many sections', { video: ['m=video 9 UDP/TLS/RTP/SAVPF 96'] }, /invalid.*3 media sections/],
    ['no transport', { audio: ['a=recvonly'], video: ['a=recvonly', 'a=rtcp-mux'] }, /invalid.*lacks a=ice-ufrag/],
    [
      'no rtcp-mux',
      { audio: [...TRANSPORT, 'a=recvonly', 'a=mid:0'], video: ['a=recvonly', 'a=mid:1'] },
      /unsupported.*multiplex/,
    ],
    [
      'two transports',
      {
        session: [],
        video: [...TRANSPORT, 'a=ice-ufrag:other', 'a=recvonly', 'a=rtcp-mux'].filter((line) => !/wxyz/.test(line)),
      },
      /unsupported.*bundle/,
    ],
    ['a weak fingerprint', { audio: BARE, video: [...BARE, ...WEAK] }, /invalid.*fingerprint/],
    ['a role that there is not', { session: ['a=setup:holdconn'], audio: BARE, video: [...BARE, ...WEAK] }, /holdconn/],
  ])('with %s is refused', (_what, parts, message) => {
    expect(refusal(parts)).toMatch(message);
  });

  it.each(['', '<html><body>Not found</body></html>', '{"ok":true}', 'v=0', 'v=1\r\n', '\u0000'])(
    'that is no SDP says so: %j',
    (text) => {
      expect(codeOf(() => parseAnswer(text))).toMatch(/sdp.invalid.*The answer cannot be read/);
    },
  );
});
