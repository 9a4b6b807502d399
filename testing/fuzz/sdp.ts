import { AppError } from '../../server/errors.ts';
import { buildAnswer } from '../../server/rtc/sdp/answer.ts';
import { parseOffer } from '../../server/rtc/sdp/offer.ts';
import { planPublisher } from '../../server/rtc/sdp/publisher-plan.ts';
import { planViewer } from '../../server/rtc/sdp/viewer-plan.ts';
import { countWork } from '../count-work.ts';
import { hostileOffers } from '../hostile/offers.ts';
import { offerNames, offerText } from '../offers.ts';
import { check, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

/** Lines that are legal somewhere, strange here, or cut short. */
const ODD_LINES = [
  'a=mid:0',
  'a=mid:',
  'a=simulcast:send 1;2;3',
  'a=rid:1 send',
  'a=rtpmap:96 red/90000',
  'a=rtpmap:97 ulpfec/90000',
  'a=rtpmap:98 flexfec-03/90000',
  'a=rtpmap:96 H264/90000',
  'a=rtpmap:96 H264/0',
  'a=rtpmap:111 opus/48000/999999',
  'a=setup:holdconn',
  'a=setup:active',
  'a=setup:passive',
  'a=setup:',
  'a=ice-lite',
  'a=ice-ufrag:',
  'a=ice-ufrag:aaaa',
  `a=ice-pwd:${'x'.repeat(300)}`,
  'a=fingerprint:md5 AA',
  'a=fingerprint:sha-256',
  'a=group:BUNDLE',
  'a=group:BUNDLE x y z',
  'a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid',
  'a=extmap:15 x',
  'a=extmap:0 y',
  'a=extmap-allow-mixed',
  'm=video 0 UDP/TLS/RTP/SAVPF 96',
  'm=audio 9 RTP/AVP 0',
  'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
  'm=video 99999999999999999999 UDP/TLS/RTP/SAVPF 96',
  'm=video 9 UDP/TLS/RTP/SAVPF 96 999 -1 0 abc',
  'a=candidate:1 1 udp 1 x.local 5000 typ host',
  'a=candidate:1 1 udp 99999999999999999999 127.0.0.9 65535 typ host',
  'a=candidate:',
  'a=sendrecv',
  'a=inactive',
  'a=recvonly',
  'a=bundle-only',
  'a=rtcp-mux',
  'b=AS:-1',
  'a=rtcp-fb:* nack',
  'a=fmtp:96 apt=97',
  'a=fmtp:97 apt=97',
  'a=fmtp:96 profile-level-id=zzzzzz;packetization-mode=1',
  'a=fmtp:96 profile-level-id=',
  'a=ssrc-group:FID 1 2',
  'a=msid:\u0000 \u0000',
  'a=end-of-candidates',
  'a=\ud800',
  '=',
  'z',
  '',
] as const;
const LEFT_OUT = ['a=mid', 'a=ice-ufrag', 'a=rtcp-mux', 'a=group', 'a=fingerprint', 'a=setup', 'a=rtpmap', 'a=extmap'];
const NUMBERS = ['0', '-1', '255', '65536', String(2 ** 31), String(2 ** 53), '9'.repeat(30)];

export function mutateOffer(random: Random, sdp: string): string {
  let lines = sdp.split('\r\n');
  for (let change = random.int(6); change >= 0; change -= 1) {
    const at = random.int(lines.length);
    const line = lines[at] ?? '';
    switch (random.int(9)) {
      case 0:
        lines.splice(at, 1);
        break;
      case 1:
        lines.splice(at, 0, random.pick(ODD_LINES));
        break;
      case 2:
        lines[at] = random.pick(ODD_LINES);
        break;
      case 3: {
        const other = random.int(lines.length);
        [lines[at], lines[other]] = [lines[other] ?? '', line];
        break;
      }
      case 4:
        lines.splice(at, 0, ...lines.slice(random.int(lines.length)).slice(0, random.int(40)));
        break;
      case 5: {
        const place = random.int(line.length + 1);
        lines[at] = line.slice(0, place) + String.fromCharCode(random.int(128)) + line.slice(place + 1);
        break;
      }
      case 6:
        lines[at] = line.replace(/\d+/, random.pick(NUMBERS));
        break;
      case 7:
        lines = lines.slice(0, Math.max(1, random.int(lines.length)));
        break;
      case 8: {
        const name = random.pick(LEFT_OUT);
        lines = lines.filter((other) => !other.startsWith(name));
        break;
      }
    }
  }
  return lines.join(random.oneIn(10) ? '\n' : '\r\n');
}

const LOCAL = {
  usernameFragment: 'abcd',
  password: 'abcdefghijklmnopqrstuv',
  fingerprint: 'AA:BB',
  setup: 'passive',
  candidates: ['candidate:1 1 udp 1 127.0.0.1 5000 typ host'],
  gatheringComplete: true,
} as const;

function answer(sdp: string, publishes: boolean): string {
  const offer = parseOffer(sdp);
  if (!publishes) {
    planViewer(offer, { width: 1280, height: 720 });
    return '';
  }
  const plan = planPublisher(offer, { startBitrateBps: 1_000_000, maxBitrateBps: 2_000_000 });
  return buildAnswer(offer, plan.answer, LOCAL, { id: '1', version: 1 });
}

export const SDP: FuzzTarget = {
  name: 'sdp',
  about: 'mutated offers of real clients: an answer or an sdp.* error, work and answer linear in the length',
  open() {
    const offers = [...offerNames().map(offerText), ...Object.values(hostileOffers())];
    return (random) => {
      const sdp = mutateOffer(random, random.pick(offers));
      const publishes = random.oneIn(2);
      const run = () => {
        try {
          const text = answer(sdp, publishes);
          check(
            !/undefined|NaN|\[object/.test(text),
            `the answer has ${/.*(?:undefined|NaN|\[object).*/.exec(text)?.[0]}`,
          );
          // Wildcard feedback is written out for each of at most 128 codecs, beside our own parameters.
          check(text.length <= 2 * sdp.length + 128 * 250, `an offer of ${sdp.length} got an answer of ${text.length}`);
        } catch (error) {
          if (!(error instanceof AppError) || !error.code.startsWith('sdp.')) throw error;
        }
      };
      // Counting slows everything down: one in 40.
      if (!random.oneIn(40)) return run();
      const work = countWork(run);
      check(work <= 80 * sdp.length + 10_000, `an offer of ${sdp.length} characters took ${work} steps`);
    };
  },
};
