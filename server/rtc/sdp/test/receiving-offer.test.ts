import { describe, expect, it } from 'vitest';
import { buildAnswer } from '../answer.ts';
import { EXTENSION, parseOffer } from '../offer.ts';
import { parseAnswer } from '../own-answer.ts';
import { describeOffer } from '../own-offer.ts';
import { planReceiving, wantedTracks } from '../receiving-offer.ts';
import { planViewer, SOURCE_LAYOUT } from '../viewer-plan.ts';
import { codeOf } from './material.ts';

/** What we ask a WHEP endpoint for, and answers as servers write them. */

const SIZE = { width: 1280, height: 720 };
const LOCAL = {
  usernameFragment: 'abcd',
  password: 'p'.repeat(24),
  fingerprint: Array(32).fill('AA').join(':'),
  setup: 'actpass' as const,
  candidates: ['candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host'],
  gatheringComplete: true,
};
const WANTED = wantedTracks(8_000_000);
const OFFER = describeOffer(WANTED, LOCAL, '7');

const TRANSPORT = [
  'a=ice-ufrag:wxyz',
  `a=ice-pwd:${'q'.repeat(24)}`,
  `a=fingerprint:sha-256 ${Array(32).fill('BB').join(':')}`,
  'a=setup:passive',
];
const CANDIDATE = 'a=candidate:1 1 udp 2130706431 203.0.113.9 6000 typ host';

interface AnswerParts {
  readonly session?: readonly string[];
  readonly audioLine?: string;
  readonly audio?: readonly string[];
  readonly videoLine?: string;
  readonly video?: readonly string[];
}

/** As Pion writes it, unless a part is given. */
function answer(parts: AnswerParts = {}): string {
  const common = (mid: string) => [...TRANSPORT, `a=mid:${mid}`, 'a=sendonly', 'a=rtcp-mux'];
  const { session = ['a=group:BUNDLE 0 1'], audioLine = 'm=audio 9 UDP/TLS/RTP/SAVPF 111' } = parts;
  const { audio = [...common('0'), CANDIDATE, 'a=rtpmap:111 opus/48000/2', 'a=ssrc:7 cname:a'] } = parts;
  const { videoLine = 'm=video 9 UDP/TLS/RTP/SAVPF 96 97' } = parts;
  const h264 = 'a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f';
  const codec = ['a=rtpmap:96 H264/90000', h264, 'a=rtpmap:97 rtx/90000', 'a=fmtp:97 apt=96'];
  const { video = [...common('1'), ...codec, 'a=ssrc:8 cname:a'] } = parts;
  const head = ['v=0', 'o=- 1 1 IN IP4 0.0.0.0', 's=-', 't=0 0', ...session];
  return [...head, audioLine, ...audio, videoLine, ...video, ''].join('\r\n');
}

const plan = (parts: AnswerParts = {}) => planReceiving(WANTED, parseAnswer(answer(parts)));
const codecs = (parts: AnswerParts = {}) =>
  plan(parts).tracks.map(({ kind, codecs: types, rtx }) => [kind, [...types], [...rtx]]);
const bare = ['a=sendonly', 'a=rtcp-mux'];

describe('our offer to a WHEP endpoint', () => {
  it('only receives: sound and one picture in every codec, over one transport', () => {
    const { bundle, media } = parseOffer(OFFER);
    expect(bundle).toEqual(['0', '1']);
    expect(media.map(({ kind, direction, rtcpMux, ssrcs }) => [kind, direction, rtcpMux, ssrcs])).toEqual([
      ['audio', 'recvonly', true, []],
      ['video', 'recvonly', true, []],
    ]);
    expect(new Set(media[1]?.codecs.map(({ name }) => name))).toEqual(new Set(['H264', 'RTX', 'VP8', 'VP9', 'AV1']));
    expect(OFFER).toContain('stereo=1');
    expect(OFFER).toContain('b=TIAS:8000000');
    // What PublisherConnection never sends is not promised.
    expect(OFFER).not.toMatch(/goog-remb|ccm fir|msid:|a=ssrc/);
  });

  it('gives each payload type one meaning', () => {
    const types = [...OFFER.matchAll(/^a=rtpmap:(\d+)/gm)].map(([, type]) => type);
    expect(new Set(types).size).toBe(types.length);
  });

  it.each(['result', 'source'] as const)('is one that this server answers with its %s', (track) => {
    const offer = parseOffer(OFFER);
    const taken = track === 'result' ? planViewer(offer, SIZE) : planViewer(offer, SIZE, SOURCE_LAYOUT);
    const media = new Map(
      [...taken.tracks.values()].map(({ index, codecs: answered, extensions }) => [
        index,
        { direction: 'sendonly' as const, codecs: answered, extensions },
      ]),
    );
    const far = buildAnswer(offer, media, { ...LOCAL, setup: 'passive' }, { id: '9', version: 1 });
    const { tracks, transport } = planReceiving(WANTED, parseAnswer(far));
    expect(transport).toMatchObject({ usernameFragment: 'abcd', setup: 'passive' });
    expect(tracks.map(({ id, kind }) => [id, kind])).toEqual([
      ['0', 'audio'],
      ['1', 'video'],
    ]);
    const sent = new Set(tracks[1]?.codecs.values());
    expect(sent).toEqual(new Set(track === 'result' ? ['H264'] : ['H264', 'VP8', 'VP9', 'AV1']));
    expect(tracks[1]?.rtx.get(97)).toBe(96);
    expect(tracks[1]?.colourSpaceId).toBe(track === 'source' ? 3 : undefined);
  });
});

describe('its answer', () => {
  it('says what comes: codecs, RTX, SSRCs, candidates', () => {
    expect(codecs()).toEqual([
      ['audio', [[111, 'opus']], []],
      ['video', [[96, 'H264']], [[97, 96]]],
    ]);
    expect(plan().tracks.map(({ ssrcs }) => ssrcs)).toEqual([[7], [8]]);
    expect(plan().candidates).toEqual([CANDIDATE.slice(2)]);
    expect(plan().transport).toMatchObject({ usernameFragment: 'wxyz', setup: 'passive', iceLite: false });
  });

  it('may have another number for a codec, or explain none', () => {
    const [, vp8] = codecs({
      videoLine: 'm=video 9 UDP/TLS/RTP/SAVPF 120 121',
      video: [...TRANSPORT, ...bare, 'a=rtpmap:120 VP8/90000', 'a=rtpmap:121 rtx/90000', 'a=fmtp:121 apt=120'],
    });
    expect(vp8).toEqual(['video', [[120, 'VP8']], [[121, 120]]]);
    const [, own] = codecs({ videoLine: 'm=video 9 UDP/TLS/RTP/SAVPF 98 99', video: [...TRANSPORT, ...bare] });
    expect(own).toEqual(['video', [[98, 'VP8']], [[99, 98]]]);
  });

  it('may pack H264 in mode 0', () => {
    const mode0 = ['a=rtpmap:112 H264/90000', 'a=fmtp:112 packetization-mode=0;profile-level-id=42e01f'];
    const video = [...TRANSPORT, ...bare, ...mode0];
    expect(codecs({ videoLine: 'm=video 9 UDP/TLS/RTP/SAVPF 112', video })[1]).toEqual(['video', [[112, 'H264']], []]);
  });

  it('has only the header extensions that it repeats, under the numbers of our offer', () => {
    const extensions = [`a=extmap:2 ${EXTENSION.transportSequence}`, `a=extmap:9 ${EXTENSION.mid}`];
    const { tracks } = plan({ video: [...TRANSPORT, ...bare, 'a=rtpmap:96 VP8/90000', ...extensions] });
    expect(tracks[1]).toMatchObject({ transportSequenceId: 2, midId: undefined, colourSpaceId: undefined });
  });

  it('may say the transport once, and leave the mids, the group and the role out', () => {
    const session = ['a=ice-lite', ...TRANSPORT.slice(0, 3)];
    const { tracks, transport } = plan({ session, audio: ['a=sendonly'], video: bare });
    expect(tracks.map(({ id }) => id)).toEqual(['0', '1']);
    expect(transport).toMatchObject({ setup: 'actpass', iceLite: true });
  });

  it.each<[string, AnswerParts]>([
    ['a rejected section', { audioLine: 'm=audio 0 UDP/TLS/RTP/SAVPF 111', audio: ['a=inactive', 'a=mid:0'] }],
    ['an inactive section', { audio: [...TRANSPORT, 'a=inactive', 'a=mid:0', 'a=rtcp-mux'] }],
    ['another codec', { audioLine: 'm=audio 9 UDP/TLS/RTP/SAVPF 0', audio: [...TRANSPORT, ...bare] }],
  ])('may have no sound: %s', (_what, parts) => {
    expect(codecs(parts).map(([kind]) => kind)).toEqual(['video']);
  });

  it.each<[string, AnswerParts, RegExp]>([
    ['no video', { videoLine: 'm=video 0 UDP/TLS/RTP/SAVPF 96' }, /unsupported.*sends no video.*H264, VP8, VP9, AV1/],
    ['a video that it would take', { video: [...TRANSPORT, 'a=recvonly', 'a=rtcp-mux'] }, /sends no video/],
    ['a codec that is not decoded', { video: [...TRANSPORT, ...bare, 'a=rtpmap:96 H265/90000'] }, /sends no video/],
    ['sections in another order', { audioLine: 'm=video 9 UDP/TLS/RTP/SAVPF 96' }, /invalid.*Section 0 .* is video/],
    ['too many sections', { video: ['m=video 9 UDP/TLS/RTP/SAVPF 96'] }, /invalid.*3 media sections/],
    ['no transport', { audio: ['a=sendonly'], video: bare }, /invalid.*lacks a=ice-ufrag/],
    ['no rtcp-mux', { audio: [...TRANSPORT, 'a=sendonly'], video: ['a=sendonly'] }, /unsupported.*multiplex/],
    ['two transports', { session: [], video: ['a=ice-ufrag:other', ...TRANSPORT.slice(1), ...bare] }, /bundle/],
    ['a weak digest', { audio: bare, video: [...TRANSPORT.slice(0, 2), 'a=fingerprint:md5 AA', ...bare] }, /fingerp/],
  ])('with %s is refused', (_what, parts, message) => {
    expect(codeOf(() => plan(parts))).toMatch(message);
  });
});
