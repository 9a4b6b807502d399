import { describe, expect, it } from 'vitest';
import { CHROMIUM_PUBLISH, CHROMIUM_WATCH } from '../../../../testing/offers.ts';
import { parseOffer } from '../offer.ts';
import { codeOf, publish, watch } from './material.ts';

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
      expect(codeOf(() => watch(sdp))).toMatch(/^(no error|sdp\.)/);
    }
  });
});
