import { describe, expect, it } from 'vitest';
import { offerText } from '../../../../testing/offers.ts';
import { answerOpus, findOpus } from '../codecs.ts';
import { parseOffer } from '../offer.ts';
import { codeOf, publish } from './material.ts';

describe('what clients refuse an answer for', () => {
  it('every bundled section says rtcp-mux-only (RFC 9725 section 4.4.1)', () => {
    for (const name of ['rfc9725-example', 'whip-obs32.2.2', 'whip-ffmpeg9.0.2']) {
      const { answer } = publish(offerText(name));
      expect(answer.match(/^a=rtcp-mux-only\r$/gm)).toHaveLength(2);
      expect(answer.match(/^a=rtcp-mux\r$/gm)).toHaveLength(2);
    }
  });

  it('sections of a bundle take the transport of the tagged one: RFC 9725’s own example', () => {
    const { plan, answer } = publish(offerText('rfc9725-example'));
    expect(plan.transport).toMatchObject({ usernameFragment: 'EsAw', setup: 'actpass' });
    expect(answer.match(/^m=\S+ 9 /gm)).toHaveLength(2);
  });

  it.each([
    ['actpass', 'passive'],
    ['active', 'passive'],
    ['passive', 'active'],
  ])('setup %s is answered with %s by the transport', (offered) => {
    const { plan } = publish(offerText('whip-obs32.2.2').replace(/setup:actpass/g, `setup:${offered}`));
    expect(plan.transport.setup).toBe(offered);
  });
});

describe('one video, one audio, one MediaStream (RFC 9725 section 4.4.2)', () => {
  const OBS = offerText('whip-obs32.2.2');
  const more = (kind: 'audio' | 'video') => {
    const section = OBS.split(/(?=^m=)/m).find((part) => part.startsWith(`m=${kind}`)) ?? '';
    return OBS.replace('BUNDLE 0 1', 'BUNDLE 0 1 2') + section.replace(/^a=mid:.*$/m, 'a=mid:2');
  };

  it.each(['audio', 'video'] as const)('two %s tracks refuse the offer', (kind) => {
    expect(codeOf(() => publish(more(kind)))).toMatch(
      new RegExp(`^sdp\\.unsupported: The offer sends 2 ${kind} tracks`),
    );
  });

  it('two MediaStreams refuse it', () => {
    const two = OBS.replace(/^a=msid:\S+ (\S+-video)/m, 'a=msid:another $1');
    expect(codeOf(() => publish(two))).toMatch(/^sdp\.unsupported: The offer sends 2 MediaStreams/);
  });

  it.each([
    ['no MediaStream', OBS.replace(/^a=msid:\S+/gm, 'a=msid:-')],
    ['no a=msid', OBS.replace(/^a=msid:.*\r\n/gm, '')],
    ['a section that sends nothing beside them', more('video').replace(/a=sendonly(?![^]*a=sendonly)/, 'a=inactive')],
  ])('%s is taken', (_what, offer) => {
    expect(publish(offer).plan.tracks).toHaveLength(2);
  });
});

describe('stereo', () => {
  it('is answered when it is offered (OBS), and not otherwise', () => {
    const opusOf = (answer: string) => /^a=fmtp:111 (.*)\r$/m.exec(answer)?.[1];
    expect(opusOf(publish(offerText('whip-obs32.2.2')).answer)).toBe(
      'minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1',
    );
    expect(opusOf(publish(offerText('rfc9725-example')).answer)).toBe('minptime=10;useinbandfec=1');
  });

  it('reaches a player that asks for it', () => {
    const [audio] = parseOffer(offerText('whip-obs32.2.2')).media;
    const opus = audio === undefined ? undefined : findOpus(audio);
    expect(opus === undefined ? '' : answerOpus(opus, []).parameters).toContain('stereo=1');
  });
});

describe('no partly rejected answers (RFC 9725 section 4.4.3)', () => {
  it('audio that is not Opus refuses the offer, and the error names it', () => {
    const offer = offerText('whip-obs32.2.2').replace('opus/48000/2', 'PCMU/8000');
    expect(codeOf(() => publish(offer))).toMatch(/^sdp\.unsupported: None of the offered audio codecs .*PCMU.*Opus/);
  });
});

describe('simulcast in an offer', () => {
  const rids = (lines: string) => {
    const offer = offerText('whip-obs32.2.2').replace('a=rtpmap:96', `${lines}\r\na=rtpmap:96`);
    return parseOffer(offer).media[1]?.sendRids;
  };

  it('counts what is declared and listed: alternatives as their first, paused ones too', () => {
    expect(rids('a=rid:a send\r\na=rid:b send\r\na=rid:c send\r\na=simulcast:send a,c;~b')).toEqual(['a', 'b']);
    expect(rids('a=rid:a send\r\na=rid:b recv\r\na=simulcast:recv b send a')).toEqual(['a']);
    expect(rids('a=simulcast:send a;b')).toEqual([]);
    expect(rids('a=rid:a send')).toEqual([]);
  });

  it('is bounded', () => {
    const many = Array.from({ length: 16 }, (_, at) => `a=rid:${at} send`).join('\r\n');
    const list = Array.from({ length: 16 }, (_, at) => String(at)).join(';');
    expect(rids(`${many}\r\na=simulcast:send ${list}`)).toHaveLength(8);
  });

  it('a peer’s RID cannot break the answer', () => {
    expect(rids('a=rid:a send\r\na=simulcast:send a b\\r\\nx')).toEqual(['a']);
  });
});

describe('sound', () => {
  it('RED in front of Opus is not answered, so that nothing but Opus is sent', () => {
    const red = 'a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n';
    const offer = offerText('whip-obs32.2.2')
      .replace(/^(m=audio \d+ \S+) 111/m, '$1 63 111')
      .replace('a=rtpmap:111', `${red}a=rtpmap:111`);
    expect(offer).toMatch(/^m=audio \d+ \S+ 63 111/m);
    const { answer } = publish(offer);
    expect(answer).toMatch(/^m=audio \d+ \S+ 111\r$/m);
    expect(answer).not.toContain('red/');
  });

  it('alone is refused, as a broadcast has pictures', () => {
    const offer = offerText('whip-obs32.2.2');
    const soundOnly = offer.slice(0, offer.indexOf('m=video')).replace(/a=group:BUNDLE .*/, 'a=group:BUNDLE 0');
    expect(codeOf(() => publish(soundOnly))).toMatch(/^sdp\.unsupported: .*video/i);
  });
});
