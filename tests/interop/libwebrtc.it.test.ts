import wrtc from '@roamhq/wrtc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { testRtcOptions } from '../../testing/rtc-options.ts';
import type { AppError } from '../../server/errors.ts';
import type { PublisherListener } from '../../server/rtc/peers.ts';
import { PeerStack } from '../../server/rtc/peer-stack.ts';

/** libwebrtc, the stack of Chromium, in Node: connects in either DTLS role, and is refused with a wrong fingerprint in either. */
describe('libwebrtc', () => {
  let stack: PeerStack;
  let peer: InstanceType<typeof wrtc.RTCPeerConnection>;
  let track: ReturnType<InstanceType<typeof wrtc.nonstandard.RTCVideoSource>['createTrack']>;
  let frames: NodeJS.Timeout;
  let errors: AppError[];
  let units: number;

  beforeEach(() => {
    stack = new PeerStack(testRtcOptions());
    errors = [];
    stack.onError((error) => errors.push(error));
    units = 0;
    const source = new wrtc.nonstandard.RTCVideoSource();
    track = source.createTrack();
    peer = new wrtc.RTCPeerConnection({ iceServers: [] });
    peer.addTrack(track, new wrtc.MediaStream([track]));
    const picture = { width: 320, height: 180, data: new Uint8Array((320 * 180 * 3) / 2) };
    frames = setInterval(() => source.onFrame(picture), 33);
  });
  afterEach(async () => {
    clearInterval(frames);
    track.stop();
    peer.close();
    await stack.close();
  });

  const listener: PublisherListener = {
    onState: () => undefined,
    onAccessUnit: () => (units += 1),
    onVideoPacket: () => undefined,
    onAudioPacket: () => undefined,
    onDrop: () => undefined,
  };

  async function publish(change: (offer: string) => string) {
    const publisher = stack.createPublisher(listener);
    await peer.setLocalDescription(await peer.createOffer());
    await expect.poll(() => peer.iceGatheringState, { timeout: 30_000 }).toBe('complete');
    const sdp = await publisher.accept(change(peer.localDescription?.sdp ?? ''));
    await peer.setRemoteDescription({ type: 'answer', sdp });
    return publisher;
  }

  const roles = [
    ['client', 'actpass'],
    ['server', 'passive'],
  ] as const;

  it.each(roles)('as DTLS %s: connects and publishes', async (_role, setup) => {
    const publisher = await publish((offer) => offer.replace('a=setup:actpass', `a=setup:${setup}`));
    await expect.poll(() => publisher.state, { timeout: 30_000 }).toBe('connected');
    await expect.poll(() => peer.connectionState, { timeout: 30_000 }).toBe('connected');
    await expect.poll(() => units, { timeout: 30_000 }).toBeGreaterThan(10);
    expect(errors).toEqual([]);
    peer.close();
    await expect.poll(() => publisher.state, { timeout: 30_000 }).toBe('closed');
  });

  it.each(roles)('as DTLS %s: refused when its offer names another certificate', async (_role, setup) => {
    const publisher = await publish((offer) =>
      offer
        .replace('a=setup:actpass', `a=setup:${setup}`)
        .replace(/(a=fingerprint:sha-256 )\S+/g, `$1${'AB:'.repeat(31)}CD`),
    );
    await expect.poll(() => publisher.state, { timeout: 30_000 }).toBe('closed');
    expect(errors).toMatchObject([{ code: 'peer.handshake', context: { reason: 'fingerprintMismatch' } }]);
    expect(units).toBe(0);
  });
});
