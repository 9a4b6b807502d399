import { describe, expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import { h264Level, planPublisher, planViewer, usableVideoCodecs } from '../negotiate.ts';
import { buildAnswer, parseOffer } from '../sdp.ts';
import type { LocalTransportParameters } from '../transport.ts';
import { CHROMIUM_PUBLISH, CHROMIUM_WATCH } from './offers.ts';

const LOCAL: LocalTransportParameters = {
  usernameFragment: 'abcd',
  password: 'abcdefghijklmnopqrstuv',
  fingerprint: 'AA:BB',
  setup: 'passive',
  candidates: ['candidate:1 1 udp 1 127.0.0.1 5000 typ host'],
  gatheringComplete: true,
};
const SESSION = { id: '1', version: 1 };
const LIMITS = { startBitrateBps: 1_500_000, maxBitrateBps: undefined };
const publish = (sdp: string, limits: Parameters<typeof planPublisher>[1] = LIMITS) => {
  const offer = parseOffer(sdp);
  const plan = planPublisher(offer, limits);
  return { plan, answer: buildAnswer(offer, plan.answer, LOCAL, SESSION) };
};
const HD = { width: 1280, height: 720 };

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'no error';
}

describe('the answer to a publisher', () => {
  it('takes what Chromium offers and leaves out what werift would echo', () => {
    const { plan, answer } = publish(CHROMIUM_PUBLISH);
    expect([...plan.videoCodecs.values()]).toEqual(expect.arrayContaining(['VP8', 'H264', 'VP9']));
    expect(plan.rtx.size).toBeGreaterThan(2);
    expect(plan.transportSequenceId).toBeDefined();
    expect(plan.colourSpaceId).toBe(8);
    expect(answer).toContain('a=extmap:8 http://www.webrtc.org/experiments/rtp-hdrext/color-space');
    expect(plan.audioPayloadType).toBe(111);
    expect(answer).toContain('x-google-start-bitrate=1500');
    expect(answer).toContain('transport-cc');
    expect(answer).toContain('a=setup:passive');
    for (const absent of ['goog-remb', 'ccm fir', 'video-orientation', 'red/90000', 'AV1', 'ulpfec']) {
      expect(answer, absent).not.toContain(absent);
    }
  });

  it('caps the sender when told to', () => {
    const { answer } = publish(CHROMIUM_PUBLISH, { startBitrateBps: 800_000, maxBitrateBps: 1_200_000 });
    expect(answer).toContain('b=AS:1200');
    expect(answer).toContain('b=TIAS:1200000');
    expect(answer).toContain('x-google-max-bitrate=1200');
  });

  it('orders H264 by profile and takes packetization-mode 1 only', () => {
    const media = parseOffer(CHROMIUM_PUBLISH).media.find(({ kind }) => kind === 'video');
    const h264 = media === undefined ? [] : usableVideoCodecs(media).filter(({ codec }) => codec === 'H264');
    expect(h264.length).toBeGreaterThan(0);
    expect(h264.every(({ parameters }) => parameters.get('packetization-mode') === '1')).toBe(true);
    expect(h264[0]?.parameters.get('profile-level-id')).toMatch(/^42e0/);
  });

  it('is an answer that a strict reader accepts: same sections, same mids, rejected ones with port 0', () => {
    const withData = `${CHROMIUM_PUBLISH}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\n`;
    const { answer } = publish(withData);
    expect(answer.match(/^m=\S+ \d+/gm)).toEqual(['m=audio 9', 'm=video 9', 'm=application 0']);
    expect(answer.match(/^a=group:BUNDLE .*$/m)?.[0]).toBe('a=group:BUNDLE 0 1');
    expect(answer.endsWith('\r\n')).toBe(true);
  });

  it('works without a=ssrc lines (RFC 9725 has none)', () => {
    const without = CHROMIUM_PUBLISH.replace(/^a=ssrc.*\r\n/gm, '');
    expect(without).not.toContain('a=ssrc');
    expect(publish(without).plan.videoCodecs.size).toBeGreaterThan(0);
  });

  it('names what it cannot take', () => {
    expect(codeOf(() => publish(CHROMIUM_WATCH))).toMatch(/^sdp\.unsupported: .*no video track/);
    const twice =
      CHROMIUM_PUBLISH + CHROMIUM_PUBLISH.slice(CHROMIUM_PUBLISH.indexOf('m=video')).replace('mid:1', 'mid:9');
    expect(codeOf(() => publish(twice))).toMatch(/^sdp\.unsupported: .*2 video tracks/);
    const av1 = CHROMIUM_PUBLISH.replace(/(VP8|VP9|H264)\/90000/g, 'AV1/90000');
    expect(codeOf(() => publish(av1))).toMatch(/^sdp\.unsupported: None of the offered video codecs.*AV1/);
    const unbundled = CHROMIUM_PUBLISH.replace(/^a=group.*\r\n/m, '');
    expect(codeOf(() => publish(unbundled))).toMatch(/^sdp\.unsupported: .*BUNDLE/);
    const noMux = CHROMIUM_PUBLISH.replace(/^a=rtcp-mux\r\n/gm, '');
    expect(codeOf(() => publish(noMux))).toMatch(/rtcp-mux/);
    const plain = CHROMIUM_PUBLISH.replace(/UDP\/TLS\/RTP\/SAVPF/g, 'RTP/AVP');
    expect(codeOf(() => publish(plain))).toMatch(/^sdp\.unsupported: Media over RTP\/AVP/);
    const keyless = CHROMIUM_PUBLISH.replace(/^a=fingerprint.*\r\n/gm, '');
    expect(codeOf(() => publish(keyless))).toMatch(/^sdp\.invalid: .*fingerprint/);
  });
});

describe('the answer to a viewer', () => {
  const watch = (sdp: string, size = HD) => planViewer(parseOffer(sdp), size);

  it('prefers H264 for the result, at the level the picture needs, and offers all codecs for the source', () => {
    const plan = watch(CHROMIUM_WATCH, { width: 768, height: 1408 });
    expect(plan.resultCodec).toBe('H264');
    const [h264] = plan.result.codecs;
    expect(h264?.parameters).toContain('profile-level-id=42e02a'); // 4224 macroblocks at 60 fps: level 4.2
    expect(h264?.feedback).toEqual(['goog-remb', 'nack', 'nack pli']);
    expect([...(plan.source?.payloadTypes.keys() ?? [])].sort()).toEqual(['H264', 'VP8', 'VP9']);
    expect(plan.audio?.codecs[0]?.name).toBe('opus');
    expect(plan.result.absoluteSendTimeId).toBeDefined();
    const uris = (track: typeof plan.source) => track?.extensions.map(({ uri }) => uri.split('/').at(-1));
    expect(uris(plan.result)).toEqual(['abs-send-time']);
    expect(uris(plan.source), 'the publisher’s colours are told on').toEqual(['abs-send-time', 'color-space']);
    expect(plan.source?.colourSpaceId).toBeDefined();
  });

  it('falls back to VP8', () => {
    expect(watch(CHROMIUM_WATCH.replace(/H264\/90000/g, 'H265/90000')).resultCodec).toBe('VP8');
    expect(codeOf(() => watch(CHROMIUM_WATCH.replace(/(H264|VP8)\/90000/g, 'X/90000')))).toMatch(/neither H264/);
  });

  it('knows the levels of H.264 table A-1', () => {
    expect([h264Level(640, 360, 30), h264Level(1280, 720, 30), h264Level(1280, 720, 60)]).toEqual([31, 31, 32]);
    expect([h264Level(768, 1408, 30), h264Level(1920, 1080, 30), h264Level(3840, 2160, 30)]).toEqual([32, 40, 51]);
  });
});

describe('malformed SDP', () => {
  it('is an AppError that says what is wrong', () => {
    expect(codeOf(() => parseOffer(''))).toMatch(/v=0/);
    expect(codeOf(() => parseOffer('v=0\r\n'))).toMatch(/no media section/);
    expect(codeOf(() => parseOffer('v=0\r\nnonsense\r\n'))).toMatch(/nonsense/);
    expect(codeOf(() => parseOffer('v=0\r\nm=video\r\n'))).toMatch(/media line/);
    expect(codeOf(() => parseOffer(`v=0\r\n${'a=x\r\n'.repeat(50_000)}`))).toMatch(/at most/);
    expect(codeOf(() => parseOffer(`v=0\r\n${'m=video 9 X 96\r\n'.repeat(40)}`))).toMatch(/more than 32/);
    expect(codeOf(() => parseOffer(CHROMIUM_PUBLISH.replace('actpass', 'holdconn')))).toMatch(/holdconn/);
    expect(codeOf(() => parseOffer(CHROMIUM_PUBLISH.replace(/ice-pwd:\S+/g, 'ice-pwd:x')))).toMatch(/ice-pwd/);
    expect(codeOf(() => parseOffer(CHROMIUM_PUBLISH.replace('mid:1', 'mid:0')))).toMatch(/same a=mid/);
  });

  it('never throws anything else: lines lost, doubled, swapped, cut and filled with noise', () => {
    let seed = 1;
    const random = (below: number) => {
      seed = (seed * 48_271) % 0x7fff_ffff;
      return seed % below;
    };
    for (let round = 0; round < 1500; round += 1) {
      const lines = (round % 2 === 0 ? CHROMIUM_PUBLISH : CHROMIUM_WATCH).split('\r\n');
      for (let change = 0; change <= random(6); change += 1) {
        const at = random(lines.length);
        const kind = random(5);
        if (kind === 0) lines.splice(at, 1);
        else if (kind === 1) lines.splice(at, 0, lines[random(lines.length)] ?? '');
        else if (kind === 2) lines[at] = (lines[at] ?? '').slice(0, random(30));
        else if (kind === 3) lines[at] = (lines[at] ?? '').replace(/\d+/g, String(random(1e9)));
        else lines[at] = (lines[at] ?? '').replace(/[a-z0-9]/g, () => String.fromCharCode(33 + random(220)));
      }
      const sdp = lines.join('\r\n');
      expect(codeOf(() => publish(sdp))).toMatch(/^(no error|sdp\.)/);
      expect(codeOf(() => planViewer(parseOffer(sdp), HD))).toMatch(/^(no error|sdp\.)/);
    }
  });
});
