import { describe, expect, it } from 'vitest';
import { CHROMIUM_PUBLISH, CHROMIUM_WATCH, offerText } from '../../../../testing/offers.ts';
import { usableVideoCodecs } from '../codecs.ts';
import { parseOffer } from '../offer.ts';
import { codeOf, publish } from './material.ts';

describe('the answer to a publisher', () => {
  it('takes what Chromium offers and leaves out what werift would echo', () => {
    const { plan, answer } = publish(CHROMIUM_PUBLISH);
    const [audio, video] = plan.tracks;
    expect([...(video?.codecs.values() ?? [])]).toEqual(expect.arrayContaining(['VP8', 'H264', 'VP9', 'AV1']));
    expect(video?.rtx.get(97)).toBe(96);
    expect(video?.transportSequenceId).toBe(3);
    expect(video?.colourSpaceId).toBe(8);
    expect(answer).toContain('a=extmap:8 http://www.webrtc.org/experiments/rtp-hdrext/color-space');
    expect(audio).toMatchObject({ kind: 'audio', codecs: new Map([[111, 'opus']]) });
    expect(answer).toContain('x-google-start-bitrate=1500');
    expect(answer).toContain('transport-cc');
    expect(answer).toContain('a=setup:passive');
    for (const absent of [
      'goog-remb',
      'ccm fir',
      'video-orientation',
      'red/90000',
      'dependency-descriptor',
      'ulpfec',
    ]) {
      expect(answer, absent).not.toContain(absent);
    }
  });

  it('caps the sender when there is a limit', () => {
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

  it.each(['packetization-mode=0;', ''])(
    'takes H264 with "%s" where it is all there is (RFC 6184 section 8.1)',
    (mode) => {
      const { plan, answer } = publish(offerText('whip-obs32.2.2').replace('packetization-mode=1;', mode));
      expect([...(plan.tracks[1]?.codecs ?? [])]).toEqual([[96, 'H264']]);
      expect(answer).toMatch(/^a=rtpmap:96 H264\/90000\r$/m);
      expect(answer).not.toContain('packetization-mode=1');
      const browser = publish(CHROMIUM_PUBLISH.replace(/VP8|VP9|AV1/g, 'H265')).answer;
      expect(browser).not.toContain('packetization-mode=0');
    },
  );

  it('takes AV1 of profile 0, which is the default, and answers with its parameters', () => {
    const parameters = (answer: string) => answer.match(/^a=fmtp:45 .*$/m)?.[0];
    const only = (fmtp: string) =>
      CHROMIUM_PUBLISH.replace(/(VP8|VP9|H264)\/90000/g, 'H265/90000').replace(/^a=fmtp:45 .*$/m, fmtp);
    const { plan, answer } = publish(only('a=fmtp:45 level-idx=5;profile=0;tier=0'));
    expect([...(plan.tracks[1]?.codecs.values() ?? [])]).toEqual(['AV1']);
    expect(answer).toContain('a=rtpmap:45 AV1/90000');
    expect(parameters(answer)).toMatch(/level-idx=5;profile=0;tier=0/);
    expect([...(publish(only('a=x')).plan.tracks[1]?.codecs.values() ?? [])]).toEqual(['AV1']);
    expect(codeOf(() => publish(only('a=fmtp:45 profile=1')))).toMatch(/AV1 \(profile 0\) are taken/);
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
    expect(publish(without).plan.tracks.map(({ kind, ssrcs }) => [kind, ssrcs])).toEqual([
      ['audio', []],
      ['video', []],
    ]);
  });

  it('names what it cannot take', () => {
    expect(codeOf(() => publish(CHROMIUM_WATCH))).toMatch(/^sdp\.unsupported: .*no video track/);
    const twice =
      CHROMIUM_PUBLISH + CHROMIUM_PUBLISH.slice(CHROMIUM_PUBLISH.indexOf('m=video')).replace('mid:1', 'mid:9');
    expect(codeOf(() => publish(twice))).toMatch(/^sdp\.unsupported: .*2 video tracks/);
    const h265 = CHROMIUM_PUBLISH.replace(/(VP8|VP9|H264|AV1)\/90000/g, 'H265/90000');
    expect(codeOf(() => publish(h265))).toMatch(/^sdp\.unsupported: None of the offered video codecs.*H265/);
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
