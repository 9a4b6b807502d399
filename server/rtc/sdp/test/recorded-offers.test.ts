import { describe, expect, it } from 'vitest';
import { offerNames, offerText } from '../../../../testing/offers.ts';
import { codeOf, publish, watch } from './material.ts';

const named = (kind: string) => offerNames().filter((name) => name.startsWith(kind));

describe('an offer of each client', () => {
  it.each([...named('whip-'), 'rfc9725-example'])('%s gets an answer to publish', (name) => {
    const { plan, answer } = publish(offerText(name));
    expect(
      plan.tracks
        .flatMap(({ codecs }) => [...codecs.values()])
        .every((codec) => ['AV1', 'H264', 'VP8', 'VP9', 'opus'].includes(codec)),
    ).toBe(true);
    const sections = (sdp: string) => sdp.match(/^m=\S+/gm);
    expect(sections(answer)).toEqual(sections(offerText(name)));
    expect(answer).not.toMatch(/undefined|NaN|\[object/);
  });

  it.each(named('whep-'))('%s gets an answer to watch', (name) => {
    const plan = watch(offerText(name));
    expect(plan.tracks.get('result')?.codecs[0]?.name).toBe(plan.resultCodec);
    expect(plan.transport.password.length).toBeGreaterThanOrEqual(22);
  });

  it.each(offerNames())('%s used the other way round is refused clearly or answered', (name) => {
    expect(codeOf(() => publish(offerText(name)))).toMatch(/^(no error|sdp\.unsupported: )/);
    expect(codeOf(() => watch(offerText(name)))).toMatch(/^(no error|sdp\.unsupported: )/);
  });
});
