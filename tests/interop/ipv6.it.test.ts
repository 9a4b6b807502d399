import { networkInterfaces } from 'node:os';
import { cleanup } from 'node-datachannel';
import { afterAll, afterEach, expect, it } from 'vitest';
import { LibdatachannelPeer } from '../../testing/peers/libdatachannel.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { WhipServer } from '../../testing/whip-server.ts';

/** Page, WebSocket, WHIP and media over IPv6: the server has ::1 and no other address, so that nothing can go by IPv4. */

const missing = !Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));
let server: WhipServer | undefined;
let peer: LibdatachannelPeer | undefined;
afterEach(async () => {
  peer?.close();
  await server?.close();
});
afterAll(() => cleanup());

it.skipIf(missing)('serves and takes a publisher on [::1] (skipped where the machine has no IPv6)', async () => {
  const addresses = ['--ice.ipv6', 'true', '--ice.interfaceAddresses', '["::1"]'];
  server = await WhipServer.start(['--host', '::1', ...addresses]);
  const url = server.app.url.replace('localhost', '[::1]');
  expect(await (await fetch(`${url}/watch/six`)).text()).toContain(`${url}/watch/six`);
  expect((await fetch(`${url}/whip/six`, { method: 'OPTIONS' })).status).toBe(204);

  const signaling = await SignalingClient.connect(url);
  const publisher = new LibdatachannelPeer('SendOnly', '::1');
  peer = publisher;
  let answer = '';
  await publisher.start(async (sdp) => {
    answer = (await signaling.request({ type: 'publish', name: 'six', sdp }, 'published')).sdp;
    return answer;
  });
  const hosts = [...answer.matchAll(/^a=candidate:\S+ 1 udp \d+ (\S+) /gm)].map((match) => match[1]);
  expect(hosts).toEqual(['::1']);
  await expect.poll(() => publisher.state).toBe('connected');
  publisher.send(50);
  // Receiver reports: the server has got the packets, and its own come back.
  await expect.poll(() => publisher.received).toBeGreaterThan(0);
  signaling.close();
});
