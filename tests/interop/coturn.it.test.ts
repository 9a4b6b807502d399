import wrtc from '@roamhq/wrtc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Coturn } from '../../testing/interop/coturn.ts';
import { leftOut } from '../../testing/interop/program.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { WhipClient } from '../../testing/whip-client.ts';
import { WhipServer } from '../../testing/whip-server.ts';
import { currentIceServers } from '../../server/rtc/ice/turn-credentials.ts';

/**
 * coturn (Debian's package) with use-auth-secret, and libwebrtc behind it with no other way than TURN over TCP. Left out where
 * coturn is not installed; `.ci/run` installs it and has FLASHVSR_REQUIRE_PROGRAMS make that a failure.
 */
const SECRET = 'shared-with-coturn';

describe.skipIf(leftOut('coturn', ['turnserver', '--version']))('coturn', () => {
  let coturn: Coturn;
  let server: WhipServer;
  let closePeer: () => void;

  beforeEach(async () => {
    coturn = await Coturn.start(SECRET);
    const servers = [{ urls: `turn:127.0.0.1:${coturn.port}?transport=tcp`, secret: SECRET, username: 'page' }];
    server = await WhipServer.start(['--ice.servers', JSON.stringify(servers)]);
    closePeer = () => undefined;
  });
  afterEach(async () => {
    closePeer();
    await server.close();
    await coturn.close();
  });

  function relayed(iceServers: RTCIceServer[]) {
    const source = new wrtc.nonstandard.RTCVideoSource();
    const track = source.createTrack();
    const peer = new wrtc.RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' });
    peer.addTransceiver(track, { direction: 'sendonly', streams: [new wrtc.MediaStream([track])] });
    const picture = { width: 320, height: 180, data: new Uint8Array((320 * 180 * 3) / 2) };
    const camera = setInterval(() => source.onFrame(picture), 33);
    closePeer = () => {
      clearInterval(camera);
      track.stop();
      peer.close();
    };
    return peer;
  }

  it('lets a client in that has the credentials of our Link header and no way but TCP', async () => {
    const options = await fetch(`${server.url}/whip/behind`, { method: 'OPTIONS' });
    const link = options.headers.get('link') ?? '';
    const [, urls = '', username, credential] = /<([^>]+)>.*username="([^"]+)"; credential="([^"]+)"/.exec(link) ?? [];
    const peer = relayed([{ urls, username, credential } as RTCIceServer]);
    await peer.setLocalDescription(await peer.createOffer());
    await expect.poll(() => peer.iceGatheringState, { timeout: 20_000 }).toBe('complete');
    const offer = peer.localDescription?.sdp ?? '';
    expect(offer.match(/^a=candidate.* typ (\w+)/gm)?.every((line) => line.endsWith('relay'))).toBe(true);
    const client = await WhipClient.post(`${server.url}/whip/behind`, offer);
    await peer.setRemoteDescription({ type: 'answer', sdp: client.answer });
    await expect.poll(() => server.pictures(), { timeout: 30_000 }).toBeGreaterThan(10);
    expect(await client.delete()).toBe(200);
  });

  it('refuses credentials whose time is over', async () => {
    const [urls, lifetimeSeconds] = [`turn:127.0.0.1:${coturn.port}?transport=tcp`, 60];
    const old = currentIceServers([{ urls, secret: SECRET, lifetimeSeconds }], Date.now() - 120_000);
    const peer = relayed(old.map((entry) => ({ ...entry })));
    await peer.setLocalDescription(await peer.createOffer());
    await expect.poll(() => peer.iceGatheringState, { timeout: 20_000 }).toBe('complete');
    expect(peer.localDescription?.sdp).not.toContain('a=candidate');
  });
});

describe('a server with a TURN secret', () => {
  it('hands out credentials made from it, by Link and by WebSocket, and the secret nowhere', async () => {
    const servers = [{ urls: 'turn:turn.example.org:3478', secret: SECRET, lifetimeSeconds: 3600 }];
    const server = await WhipServer.start(['--ice.servers', JSON.stringify(servers)]);
    try {
      const before = Math.floor(Date.now() / 1000);
      const options = await fetch(`${server.url}/whep/any`, { method: 'OPTIONS' });
      const link = options.headers.get('link') ?? '';
      expect(link).toMatch(
        /^<turn:turn\.example\.org:3478>; rel="ice-server"; username="\d{10}"; credential="[\w+/]{27}="; credential-type="password"$/,
      );
      expect(Number(/username="(\d+)"/.exec(link)?.[1]) - before).toBeGreaterThanOrEqual(3600);
      const page = await SignalingClient.connect(server.url);
      const { iceServers } = await page.request({ type: 'hello', version: 1 }, 'welcome');
      page.close();
      expect(iceServers).toMatchObject([
        { urls: 'turn:turn.example.org:3478', username: expect.stringMatching(/^\d{10}$/) as string },
      ]);
      const state = await (await fetch(`${server.url}/debug/state`)).text();
      for (const text of [link, JSON.stringify(iceServers), state]) expect(text).not.toContain(SECRET);
    } finally {
      await server.close();
    }
  });
});
