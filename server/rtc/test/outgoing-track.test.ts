import { expect, it } from 'vitest';
import { CHROMIUM_WATCH } from '../../../testing/offers.ts';
import { parseRtp } from '../../media/rtp.ts';
import { OutgoingTrack } from '../outgoing-track.ts';
import type { ForwardPacket } from '../peers.ts';
import { parseOffer } from '../sdp/offer.ts';
import { planViewer } from '../sdp/viewer-plan.ts';

it('forwards the publisher’s gaps, but not those of packets that the viewer was not meant to get', () => {
  const sent: number[] = [];
  const plan = planViewer(parseOffer(CHROMIUM_WATCH), { width: 1280, height: 720 }).tracks.get('source');
  if (plan === undefined) throw new Error('The offer takes no source.');
  const sendRtp = (header: Buffer, payload: Uint8Array) => {
    sent.push(parseRtp(Buffer.concat([header, payload]))?.sequenceNumber ?? -1);
    return header.length + payload.length;
  };
  const track = new OutgoingTrack(plan, { sendRtp }, 0);
  const forward = (sequence: number) => {
    const packet: ForwardPacket = {
      ...{ stream: 7, payload: Buffer.of(0x10, 0, 0), marker: true, sequence },
      ...{ timestamp: sequence * 3000, mediaTime: sequence * 3000, receivedAtUs: 0 },
    };
    track.forward(packet, 'VP8', sequence * 33_000);
  };
  for (const sequence of [100, 101, 103]) forward(sequence);
  track.join();
  for (const sequence of [500, 501, 503]) forward(sequence);
  expect(sent.map((sequence) => (sequence - (sent[0] ?? 0)) & 0xffff)).toEqual([0, 1, 3, 4, 5, 7]);
});
