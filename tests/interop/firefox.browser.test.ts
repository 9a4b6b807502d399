import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WhipFront } from '../../testing/whip-front.ts';

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

/** @param change what the page does to its offer on the way, an expression of `sdp` */
const page = (change: string): string => `<!doctype html><script>
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
  const response = await fetch('/whip', { method: 'POST', body: ${change} });
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
  let front: WhipFront;
  let profile: string;
  let firefox: ChildProcess;

  beforeEach(async () => {
    front = await WhipFront.start(ADDRESS);
    profile = mkdtempSync(join(tmpdir(), 'firefox-'));
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref("${name}", ${String(value)});`);
    writeFileSync(join(profile, 'user.js'), lines.join('\n'));
  });
  afterEach(async () => {
    const ended = new Promise((resolve) => firefox.once('exit', resolve));
    firefox.kill();
    await ended;
    await front.close();
    rmSync(profile, { recursive: true, force: true });
  });

  function open(change: string): void {
    front.page = page(change);
    firefox = spawn(FIREFOX, ['--headless', '--no-remote', '--profile', profile, front.url], { stdio: 'ignore' });
  }

  const roles = [
    ['client', 'actpass'],
    ['server', 'passive'],
  ] as const;

  it.each(roles)('as DTLS %s: connects and publishes', async (_role, setup) => {
    open(`sdp.replaceAll('a=setup:actpass', 'a=setup:${setup}')`);
    await expect.poll(() => front.sessions[0]?.peer.state, { timeout: 60_000 }).toBe('connected');
    await expect.poll(() => front.sessions[0]?.pictures, { timeout: 20_000 }).toBeGreaterThan(20);
    expect(front.sessions[0]?.userAgent).toContain('Firefox');
    expect(front.errors).toEqual([]);
  });

  it.each(roles)('as DTLS %s: refused when its offer names another certificate', async (_role, setup) => {
    const forged = `.replace(/(a=fingerprint:sha-256 )\\S+/g, '$1${'AB:'.repeat(31)}CD')`;
    open(`sdp.replaceAll('a=setup:actpass', 'a=setup:${setup}')${forged}`);
    await expect.poll(() => front.sessions[0]?.peer.state, { timeout: 60_000 }).toBe('closed');
    expect(front.errors).toMatchObject([{ code: 'peer.handshake', context: { reason: 'fingerprintMismatch' } }]);
    expect(front.sessions[0]?.pictures).toBe(0);
  });
});
