import { expect, it } from 'vitest';
import { hostileOffers, plainOffer } from '../../../testing/hostile/offers.ts';
import { AppError } from '../../errors.ts';
import { PublisherConnection } from '../publisher-connection.ts';
import type { PeerTransport } from '../secure-transport.ts';
import { testRtcOptions } from '../../../testing/rtc-options.ts';

/** A publisher's place is taken when its offer has proved acceptable, and before anything of the network is used. */
function publisher() {
  const calls: string[] = [];
  const transport: PeerTransport = {
    state: 'connecting',
    secure: false,
    counters: { packetsSent: 0, bytesSent: 0, packetsReceived: 0, bytesReceived: 0, packetsRefused: 0 },
    roundTripUs: undefined,
    accept: async () => {
      calls.push('transport');
      return {
        usernameFragment: 'abcd',
        password: 'p'.repeat(24),
        fingerprint: 'AA',
        setup: 'passive',
        candidates: [],
        gatheringComplete: true,
      };
    },
    update: () => Promise.reject(new Error('not asked for')),
    addCandidate: () => {},
    sendRtp: () => 0,
    sendRtcp: () => {},
    tick: () => {},
    close: async () => {},
  };
  const peer = new PublisherConnection(
    { rtc: testRtcOptions(), createTransport: () => transport },
    { onState() {}, onAccessUnit() {}, onVideoPacket() {}, onAudioPacket() {}, onDrop() {} },
    { onClosed() {}, onListenerError() {}, onPending() {} },
  );
  return { peer, calls, admit: () => void calls.push('admit') };
}

const WEAK = plainOffer().replace(/^a=fingerprint:.*$/m, `a=fingerprint:sha-1 ${'AB:'.repeat(19)}AB`);
const refused = Object.entries(hostileOffers()).filter(([name]) => !name.startsWith('viewer'));

it.each([
  ['no SDP', 'v=1'],
  ['an offer to watch', plainOffer({ kind: 'watch' })],
  ['a short ICE password', plainOffer({ password: 'short' })],
  ['a fingerprint of SHA-1', WEAK],
  ['a setup that is none', plainOffer({ setup: 'holdconn' })],
  ...refused,
])('%s is refused without asking for a place, or taken with one', async (_what, sdp) => {
  const { peer, calls, admit } = publisher();
  const error = await peer.accept(sdp, admit).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error === undefined) return expect(calls).toEqual(['admit', 'transport']);
  expect((error as AppError).code).toMatch(/^sdp\./);
  expect(calls).toEqual([]);
});

it('asks for admission once, before the transport is used; its error refuses the offer', async () => {
  const { peer, calls, admit } = publisher();
  await peer.accept(plainOffer(), admit);
  expect(calls).toEqual(['admit', 'transport']);
  const full = publisher();
  const refusal = new AppError('server.full', 'full');
  await expect(
    full.peer.accept(plainOffer(), () => {
      throw refusal;
    }),
  ).rejects.toBe(refusal);
  expect(full.calls).toEqual([]);
});
