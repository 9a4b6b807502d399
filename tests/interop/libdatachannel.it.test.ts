import { cleanup } from 'node-datachannel';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LibdatachannelPeer } from '../../testing/peers/libdatachannel.ts';
import { testRtcOptions } from '../../testing/rtc-options.ts';
import type { AppError } from '../../server/errors.ts';
import type { PublisherListener } from '../../server/rtc/peers.ts';
import { PeerStack } from '../../server/rtc/peer-stack.ts';

/** libdatachannel as publisher, over real sockets on 127.0.0.1. */
describe('libdatachannel', () => {
  let stack: PeerStack;
  let peer: LibdatachannelPeer;
  let errors: AppError[];
  let packets: number;

  beforeEach(() => {
    stack = new PeerStack(testRtcOptions());
    errors = [];
    stack.onError((error) => errors.push(error));
    packets = 0;
    peer = new LibdatachannelPeer('SendOnly');
  });
  afterEach(async () => {
    peer.close();
    await stack.close();
  });
  afterAll(() => cleanup());

  const listener: PublisherListener = {
    onState: () => undefined,
    onAccessUnit: () => undefined,
    onVideoPacket: () => (packets += 1),
    onAudioPacket: () => undefined,
    onDrop: () => undefined,
  };

  it.each([
    ['client', 'actpass'],
    ['server', 'passive'],
  ])('as DTLS %s: connects, and media flows both ways', async (_role, setup) => {
    const publisher = stack.createPublisher(listener);
    await peer.start((offer) => publisher.accept(offer.replace('a=setup:actpass', `a=setup:${setup}`)));
    await expect.poll(() => publisher.state, { timeout: 30_000 }).toBe('connected');
    await expect.poll(() => peer.state, { timeout: 30_000 }).toBe('connected');
    peer.send(50);
    await expect.poll(() => packets, { timeout: 30_000 }).toBe(50);
    await expect.poll(() => peer.received, { timeout: 30_000 }).toBeGreaterThan(0);
    expect(errors).toEqual([]);

    await publisher.close(); // close_notify reaches it
    await expect.poll(() => peer.state, { timeout: 30_000 }).toBe('closed');
  });

  it.each([
    ['client', 'actpass'],
    ['server', 'passive'],
  ])('as DTLS %s: refused when its offer names another certificate', async (_role, setup) => {
    const publisher = stack.createPublisher(listener);
    const forge = (offer: string) =>
      offer
        .replace('a=setup:actpass', `a=setup:${setup}`)
        .replace(/(a=fingerprint:sha-256 )\S+/gi, `$1${'AB:'.repeat(31)}CD`);
    await peer.start((offer) => publisher.accept(forge(offer)));
    await expect.poll(() => publisher.state, { timeout: 30_000 }).toBe('closed');
    expect(errors).toMatchObject([{ code: 'peer.handshake', context: { reason: 'fingerprintMismatch' } }]);
    expect(packets).toBe(0);
  });
});
