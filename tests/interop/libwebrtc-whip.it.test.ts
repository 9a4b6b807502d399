import wrtc from '@roamhq/wrtc';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WhipClient } from '../../testing/whip-client.ts';
import { WhipServer } from '../../testing/whip-server.ts';

/** libwebrtc, the stack of browsers, as a WHIP client that trickles and restarts ICE by PATCH. */
describe('libwebrtc', () => {
  let server: WhipServer;
  let peer: InstanceType<typeof wrtc.RTCPeerConnection>;
  let track: ReturnType<InstanceType<typeof wrtc.nonstandard.RTCVideoSource>['createTrack']>;
  let frames: NodeJS.Timeout;

  beforeAll(async () => {
    server = await WhipServer.start();
  });
  afterAll(() => server.close());
  beforeEach(() => {
    const source = new wrtc.nonstandard.RTCVideoSource();
    track = source.createTrack();
    peer = new wrtc.RTCPeerConnection({ iceServers: [] });
    peer.addTransceiver(track, { direction: 'sendonly', streams: [new wrtc.MediaStream([track])] });
    const picture = { width: 320, height: 180, data: new Uint8Array((320 * 180 * 3) / 2) };
    frames = setInterval(() => source.onFrame(picture), 33);
  });
  afterEach(() => {
    clearInterval(frames);
    track.stop();
    peer.close();
  });

  const lineOf = (sdp: string, name: string) => new RegExp(`^a=${name}:(.*)$`, 'm').exec(sdp)?.[1]?.trim() ?? '';

  it('trickles its candidates, publishes, and goes on over the path of an ICE restart', async () => {
    const candidates: string[] = [];
    peer.onicecandidate = ({ candidate }) => {
      if (candidate !== null && candidate.candidate !== '') candidates.push(candidate.candidate);
    };
    await peer.setLocalDescription(await peer.createOffer());
    // Without one candidate: what comes later goes by PATCH.
    const offer = (peer.localDescription?.sdp ?? '').replace(/^a=candidate.*\r\n/gm, '');
    const client = await WhipClient.post(`${server.url}/whip/libwebrtc`, offer, 'secret');
    await peer.setRemoteDescription({ type: 'answer', sdp: client.answer });
    await expect.poll(() => candidates.length, { timeout: 10_000 }).toBeGreaterThan(0);
    const credentials = (sdp: string) =>
      `a=ice-ufrag:${lineOf(sdp, 'ice-ufrag')}\r\na=ice-pwd:${lineOf(sdp, 'ice-pwd')}\r\n`;
    const fragment = `${credentials(offer)}m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n`;
    const lines = candidates.map((candidate) => `a=${candidate}\r\n`).join('');
    expect((await client.patch(fragment + lines)).status).toBe(204);
    await expect.poll(() => server.pictures(), { timeout: 15_000 }).toBeGreaterThan(5);

    const pair = await selectedPair(peer);
    expect(pair).toBeDefined();
    await peer.setLocalDescription(await peer.createOffer({ iceRestart: true }));
    const restarted = await client.patch(credentials(peer.localDescription?.sdp ?? ''), '*');
    expect(restarted.status).toBe(200);
    const ufrag = lineOf(restarted.body, 'ice-ufrag');
    expect(ufrag).not.toBe(lineOf(client.answer, 'ice-ufrag'));
    const answer = client.answer
      .replace(/^a=ice-ufrag:.*$/gm, `a=ice-ufrag:${ufrag}`)
      .replace(/^a=ice-pwd:.*$/gm, `a=ice-pwd:${lineOf(restarted.body, 'ice-pwd')}`);
    await peer.setRemoteDescription({ type: 'answer', sdp: answer });
    await expect.poll(() => selectedPair(peer), { timeout: 15_000 }).not.toBe(pair);
    const before = await server.pictures();
    await expect.poll(() => server.pictures(), { timeout: 15_000 }).toBeGreaterThan(before + 10);
    expect(await client.delete()).toBe(200);
    await expect.poll(() => peer.connectionState, { timeout: 10_000 }).not.toBe('connected');
  });
});

/** The candidate pair that media goes over. */
async function selectedPair(peer: InstanceType<typeof wrtc.RTCPeerConnection>): Promise<string | undefined> {
  const reports = [...(await peer.getStats()).values()] as Record<string, string | undefined>[];
  return reports.find(({ type }) => type === 'transport')?.['selectedCandidatePairId'];
}
