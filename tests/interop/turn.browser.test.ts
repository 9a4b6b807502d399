import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { launchBrowser } from '../../testing/browser.ts';
import { encodeClip } from '../../testing/clip.ts';
import { Coturn } from '../../testing/interop/coturn.ts';
import { leftOut } from '../../testing/interop/program.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { WhipClient } from '../../testing/whip-client.ts';
import { WhipServer } from '../../testing/whip-server.ts';

/** Our page in Chromium where UDP is blocked: by the TURN server that the page learns of from us, over TCP and over TLS. */
const CLIP = fileURLToPath(new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url));
const SECRET = 'shared-with-coturn';

/** Peer connections of the page have no way but a relay; they are kept for their statistics. */
const ONLY_RELAYS = `
  window.peers = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: 'relay' });
      window.peers.push(this);
    }
  };`;

describe.skipIf(leftOut('coturn', ['turnserver', '--version']))('a viewer behind a firewall', () => {
  let coturn: Coturn;
  let browser: Browser;
  let server: WhipServer;
  const cleanup: (() => unknown)[] = [];

  beforeAll(async () => {
    coturn = await Coturn.start(SECRET);
    // coturn's certificate is its own.
    browser = await launchBrowser({ camera: false, args: ['--ignore-certificate-errors'] });
  });
  afterEach(async () => {
    for (const end of cleanup.splice(0).reverse()) await end();
  });
  afterAll(async () => {
    await browser.close();
    await coturn.close();
  });

  it.each([
    ['tcp', () => `turn:127.0.0.1:${coturn.port}?transport=tcp`],
    ['tls', () => `turns:127.0.0.1:${coturn.tlsPort}?transport=tcp`],
  ] as const)('sees the pictures through TURN over %s', async (protocol, urls) => {
    const servers = [{ urls: urls(), secret: SECRET, username: 'page' }];
    server = await WhipServer.start(['--ice.servers', JSON.stringify(servers)]);
    cleanup.push(() => server.close());
    const clip = await encodeClip({ codec: 'H264', file: CLIP, seconds: 2, bitrateBps: 300_000 });
    const publisher = new NodePublisher({ clip });
    cleanup.push(() => publisher.stop());
    await publisher.start(async (offer) => (await WhipClient.post(`${server.url}/whip/stage`, offer)).answer);

    const context = await browser.newContext();
    cleanup.push(() => context.close());
    await context.addInitScript(ONLY_RELAYS);
    const page = await context.newPage();
    await page.goto(`${server.url}/watch/stage?embed=1`);
    const seen = () =>
      page.evaluate(async () => {
        const { peers } = window as unknown as { peers: RTCPeerConnection[] };
        const reports = await Promise.all(peers.map((peer) => peer.getStats()));
        const entries = reports.flatMap((report) => [
          ...(report as unknown as Map<string, Record<string, unknown>>).values(),
        ]);
        const frames = entries.map(({ framesDecoded = 0 }) => Number(framesDecoded));
        const relays = entries.filter(
          ({ type, candidateType }) => type === 'local-candidate' && candidateType === 'relay',
        );
        return { frames: Math.max(0, ...frames), by: [...new Set(relays.map(({ relayProtocol }) => relayProtocol))] };
      });
    await expect.poll(async () => (await seen()).frames).toBeGreaterThan(60);
    expect((await seen()).by).toEqual([protocol]);
  });
});
