import { spawn, type ChildProcess } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WhipServer } from '../../testing/whip-server.ts';

/**
 * Firefox (its DTLS is NSS's) as a WHIP client; no driver needed, the page publishes by itself. Runs where FIREFOX_PATH names
 * one, for example FIREFOX_PATH=/usr/bin/firefox-esr npx vitest run tests/interop/firefox.browser.test.ts: the UDP socket listens
 * on an address of the machine, because Firefox offers no loopback candidate beside one.
 */
const FIREFOX = process.env['FIREFOX_PATH'] ?? '';

const ADDRESS =
  Object.values(networkInterfaces())
    .flat()
    .find((entry) => entry?.family === 'IPv4' && !entry.internal)?.address ?? '127.0.0.1';

/** Of another origin than the server, as a studio's own site. @param change what the page does to its offer on the way, an expression of `sdp` */
const page = (url: string, change: string): string => `<!doctype html><script>
(async () => {
  const media = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
  const peer = new RTCPeerConnection();
  for (const track of media.getTracks()) peer.addTransceiver(track, { direction: 'sendonly' });
  await peer.setLocalDescription(await peer.createOffer());
  await new Promise((done) => {
    const check = () => peer.iceGatheringState === 'complete' && done();
    peer.onicegatheringstatechange = check;
    check();
  });
  const sdp = peer.localDescription.sdp;
  const response = await fetch('${url}/whip/firefox', {
    method: 'POST',
    headers: { 'Content-Type': 'application/sdp' },
    body: ${change},
  });
  await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
})();
</script>`;

const PREFERENCES = {
  // Its own camera, and with it the right to all addresses of the machine.
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'app.update.enabled': false,
  'network.captive-portal-service.enabled': false,
};

describe.skipIf(!existsSync(FIREFOX))('Firefox', () => {
  let server: WhipServer;
  let site: Server;
  let profile: string;
  let firefox: ChildProcess;

  beforeEach(async () => {
    server = await WhipServer.start([
      ...['--http.allowedOrigins', '["*"]'],
      ...['--ice.interfaceAddresses', JSON.stringify([ADDRESS])],
    ]);
    profile = mkdtempSync(join(tmpdir(), 'firefox-'));
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref("${name}", ${String(value)});`);
    writeFileSync(join(profile, 'user.js'), lines.join('\n'));
  });
  afterEach(async () => {
    const ended = new Promise((resolve) => firefox.once('exit', resolve));
    firefox.kill();
    await ended;
    site.close();
    await server.close();
    rmSync(profile, { recursive: true, force: true });
  });

  async function open(change: string): Promise<void> {
    const html = page(server.url, change);
    site = createServer((_request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(html));
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
    firefox = spawn(FIREFOX, ['--headless', '--no-remote', '--profile', profile, url], { stdio: 'ignore' });
  }

  const roles = [
    ['client', 'actpass'],
    ['server', 'passive'],
  ] as const;

  it.each(roles)('as DTLS %s: connects and publishes', async (_role, setup) => {
    await open(`sdp.replaceAll('a=setup:actpass', 'a=setup:${setup}')`);
    await expect.poll(() => server.pictures(), { timeout: 80_000 }).toBeGreaterThan(20);
    expect(await server.errors('peer.handshake')).toBe(0);
  });

  it.each(roles)('as DTLS %s: refused when its offer names another certificate', async (_role, setup) => {
    const forged = `.replace(/(a=fingerprint:sha-256 )\\S+/g, '$1${'AB:'.repeat(31)}CD')`;
    await open(`sdp.replaceAll('a=setup:actpass', 'a=setup:${setup}')${forged}`);
    await expect.poll(() => server.errors('peer.handshake'), { timeout: 60_000 }).toBe(1);
    expect(await server.pictures()).toBe(0);
  });
});
