import { describe, expect, it } from 'vitest';
import { countWork } from '../../../../testing/count-work.ts';
import { hostileOffers, plainOffer } from '../../../../testing/hostile/offers.ts';
import { CHROMIUM_PUBLISH } from '../../../../testing/offers.ts';
import { codeOf, publish, watch } from './material.ts';

const lines = <T>(count: number, line: (index: number) => T): T[] => Array.from({ length: count }, (_, at) => line(at));
const withMedia = (extraMedia: readonly string[]) => plainOffer({ extraMedia });

describe('limits of SDP', () => {
  it('are named by the error', () => {
    const refusals: readonly (readonly [string, RegExp])[] = [
      [`v=0\r\n${'a=x\r\n'.repeat(14_000)}`, /at most 65536 characters/],
      [plainOffer({ extraSession: lines(2001, () => 'a=x') }), /2\d{3} lines; at most 2000/],
      [withMedia([`a=fmtp:96 ${'x'.repeat(4096)}`]), /longer than 4096 characters/],
      [withMedia(lines(65, (at) => `a=candidate:${at} 1 udp 1 127.0.0.1 5000 typ host`)), /more than 64 a=candidate/],
      [withMedia(lines(1025, () => 'a=rtcp-fb:96 nack')), /more than 1024 a=rtcp-fb/],
      [withMedia(lines(257, (at) => `a=fmtp:${at % 128} a=b`)), /more than 256 a=fmtp/],
      [withMedia(lines(257, (at) => `a=rtpmap:${at % 128} VP8/90000`)), /more than 256 a=rtpmap/],
      [withMedia(lines(65, (at) => `a=extmap:${at} x`)), /more than 64 a=extmap/],
      [withMedia(lines(257, (at) => `a=ssrc:${at} cname:x`)), /more than 256 a=ssrc/],
      [withMedia(lines(17, () => 'a=fingerprint:sha-256 AA')), /more than 16 a=fingerprint/],
      [withMedia(lines(33, (at) => `a=rtcp-fb:* x${at}`)), /more than 32 different a=rtcp-fb/],
      [withMedia([`a=fmtp:96 ${'a=b;'.repeat(70)}`]), /71 parameters; at most 64/],
      [plainOffer({ formats: '96 97 96' }), /payload type 96 twice/],
      [plainOffer({ formats: lines(129, (at) => String(at)).join(' ') }), /129 formats; at most 128/],
    ];
    for (const [sdp, expected] of refusals) {
      const code = codeOf(() => publish(sdp));
      expect(code).toMatch(/^sdp\.invalid: /);
      expect(code).toMatch(expected);
    }
  });

  it('leave room: the longest offer at hand could be several times as long', () => {
    expect(CHROMIUM_PUBLISH.length).toBeLessThan(16_000);
    expect(codeOf(() => publish(plainOffer()))).toBe('no error');
  });
});

describe('what a hostile offer costs', () => {
  it.each(Object.entries(hostileOffers()))('%s: work and answer are linear in its length', (name, sdp) => {
    let answered = 0;
    const run = name.startsWith('viewer') ? () => watch(sdp) : () => (answered = publish(sdp).answer.length);
    const work = countWork(() => expect(codeOf(run)).toMatch(/^(no error|sdp\.)/));
    expect(work).toBeLessThan(60 * sdp.length);
    expect(answered).toBeLessThan(2 * sdp.length + 2000);
  });

  it('stays linear at the limits: 128 payload types with everything that may be listed for them', () => {
    const full = (types: number) => {
      const each = (line: (type: number) => string[]) => lines(types, (at) => at).flatMap(line);
      const sdp = plainOffer({
        formats: lines(types, (at) => String(at)).join(' '),
        extraMedia: [
          ...lines(31, (at) => `a=rtcp-fb:* f${at}`),
          ...each((type) => [`a=rtpmap:${type} ${type % 2 ? 'rtx' : 'VP8'}/90000`, `a=fmtp:${type} apt=${type - 1}`]),
          ...each((type) => lines(5, (at) => `a=rtcp-fb:${type} own${at}`)),
        ],
      });
      const work = countWork(() => publish(sdp));
      return work / sdp.length;
    };
    expect(full(128)).toBeLessThan(60);
    expect(full(128)).toBeLessThan(1.5 * full(32));
  });
});
