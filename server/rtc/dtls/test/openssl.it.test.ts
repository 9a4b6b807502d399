import { spawn, spawnSync, execFileSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ownCertificate, type OwnCertificate } from '../own-certificate.ts';
import { End, fingerprintOf } from '../../../../testing/dtls-pair.ts';
import { until } from '../../../../testing/until.ts';

/** OpenSSL's DTLS on both sides, over sockets on 127.0.0.1; .ci/run installs it. */

const KEYS_LABEL = 'EXTRACTOR-dtls_srtp';
const OPENSSL_PROFILES = 'SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80';
const BYTES = { AEAD_AES_128_GCM: 56, AEAD_AES_256_GCM: 88, AES128_CM_HMAC_SHA1_80: 60 } as const;

const missing = spawnSync('openssl', ['version']).status !== 0;

interface Identity {
  readonly name: string;
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly own: OwnCertificate;
}

describe.skipIf(missing)('OpenSSL', () => {
  let folder: string;
  const identities: Record<string, Identity> = {};
  let child: ChildProcessWithoutNullStreams | undefined;
  let socket: Socket | undefined;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'dtls-openssl-'));
    const kinds: Record<string, readonly string[]> = {
      p256: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
      p384: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:secp384r1'],
      rsa: ['-newkey', 'rsa:2048'],
    };
    for (const [name, key] of Object.entries(kinds)) {
      const [certificateFile, keyFile] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
      const subject = ['-nodes', '-subj', '/CN=peer', '-days', '2'];
      execFileSync('openssl', ['req', '-x509', ...key, ...subject, '-keyout', keyFile, '-out', certificateFile], {
        stdio: 'pipe',
      });
      const certificate = new X509Certificate(readFileSync(certificateFile));
      const own = ownCertificate(certificate.raw, createPrivateKey(readFileSync(keyFile)));
      identities[name] = { name, certificateFile, keyFile, own };
    }
  });

  afterEach(async () => {
    const ended = child === undefined ? undefined : new Promise((resolve) => child?.once('exit', resolve));
    if (child?.exitCode === null) child.kill();
    else child = undefined;
    if (child !== undefined) await ended;
    child = undefined;
    socket?.close();
    socket = undefined;
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const identity = (name: string): Identity => identities[name] as Identity;

  function openssl(command: 's_client' | 's_server', peer: Identity, profileBytes: number, more: readonly string[]) {
    const args = [command, '-dtls1_2', '-use_srtp', OPENSSL_PROFILES, '-keymatexport', KEYS_LABEL];
    args.push('-keymatexportlen', String(profileBytes), '-cert', peer.certificateFile, '-key', peer.keyFile, ...more);
    child = spawn('openssl', args);
    const output: string[] = [];
    child.stdout.on('data', (data: Buffer) => output.push(data.toString()));
    child.stderr.on('data', (data: Buffer) => output.push(data.toString()));
    return () => output.join('');
  }

  async function open(): Promise<{ readonly socket: Socket; readonly port: number }> {
    const opened = createSocket('udp4');
    socket = opened;
    await new Promise<void>((resolve) => opened.bind(0, '127.0.0.1', resolve));
    return { socket: opened, port: opened.address().port };
  }

  /** What OpenSSL printed is what we export. */
  function expectSameKeys(end: End, output: string, role: 'client' | 'server'): void {
    const { keys } = end;
    if (keys === undefined) throw new Error('not connected');
    const [client, server] = role === 'client' ? [keys.local, keys.remote] : [keys.remote, keys.local];
    const ours = Buffer.concat([client.masterKey, server.masterKey, client.masterSalt, server.masterSalt]);
    expect(/Keying material: ([0-9A-F]+)/.exec(output)?.[1]).toBe(ours.toString('hex').toUpperCase());
  }

  const suites = [
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-RSA-CHACHA20-POLY1305',
  ];
  const cases = suites.flatMap((suite) =>
    // OpenSSL takes an ECDSA certificate only on a curve that it offers.
    ['X25519:P-256:P-384', 'P-256', 'P-384'].map((groups, index) => ({
      suite,
      groups,
      ours: suite.includes('ECDHE-RSA') ? 'rsa' : groups === 'P-384' ? 'p384' : 'p256',
      peer: ['p384', 'rsa', 'rsa'][index] as string,
      profile: (['AEAD_AES_128_GCM', 'AES128_CM_HMAC_SHA1_80', 'AEAD_AES_256_GCM'] as const)[
        index
      ] as keyof typeof BYTES,
    })),
  );

  it.each(cases)(
    's_client with $suite, $groups, a $peer certificate, $profile',
    async ({ suite, groups, ours, peer, profile }) => {
      const own = identity(ours).own;
      const { socket: server, port } = await open();
      const end = new End({
        role: 'server',
        certificate: own,
        remoteFingerprints: fingerprintOf(identity(peer).own),
        srtpProfiles: [profile],
      });
      let to = 0;
      end.deliver = (datagram) => server.send(datagram, to, '127.0.0.1');
      server.on('message', (data, from) => {
        to = from.port;
        end.session.receive(data);
      });
      end.session.start();
      const output = openssl('s_client', identity(peer), BYTES[profile], [
        '-connect',
        `127.0.0.1:${port}`,
        '-cipher',
        suite,
        '-groups',
        groups,
      ]);
      await until(
        () => output().includes('Keying material'),
        () => `connected\n${output()}`,
      );
      expect(end.events).toEqual(['connected']);
      expectSameKeys(end, output(), 'server');
      expect(output()).toContain('Extended master secret: yes');
      expect(output()).toContain(suite);

      child?.stdin.write('Q\n'); // OpenSSL says goodbye
      await until(
        () => end.events.includes('closed'),
        () => `closed\n${output()}`,
      );
    },
  );

  it.each(cases)(
    's_server with $suite, $groups, our certificate $peer, $profile',
    async ({ suite, groups, ours, peer: own, profile }) => {
      const peer = identity(ours);
      const { socket: client, port: free } = await open();
      // s_server needs a separate port: the one of a socket just closed.
      const spare = createSocket('udp4');
      await new Promise<void>((resolve) => spare.bind(0, '127.0.0.1', resolve));
      const port = spare.address().port;
      await new Promise<void>((resolve) => spare.close(() => resolve()));
      expect(port).not.toBe(free);
      const output = openssl('s_server', peer, BYTES[profile], [
        '-accept',
        `127.0.0.1:${port}`,
        // Half of them ask for our certificate.
        ...(groups === 'P-256' ? [] : ['-Verify', '1']),
        '-cipher',
        suite,
        '-groups',
        groups,
      ]);
      await until(
        () => output().includes('ACCEPT'),
        () => `listening\n${output()}`,
      );
      const end = new End({
        role: 'client',
        certificate: identity(own).own,
        remoteFingerprints: fingerprintOf(peer.own),
        srtpProfiles: [profile],
      });
      end.deliver = (datagram) => client.send(datagram, port, '127.0.0.1');
      client.on('message', (data) => end.session.receive(data));
      end.session.start();
      await until(
        () => output().includes('Keying material'),
        () => `connected\n${output()}`,
      );
      await until(
        () => end.events.length > 0,
        () => `connected\n${output()}`,
      );
      expect(end.events).toEqual(['connected']);
      expectSameKeys(end, output(), 'client');

      end.session.close();
      await until(
        () => output().includes('DONE') || output().includes('shut down'),
        () => `goodbye\n${output()}`,
      );
    },
  );

  it('s_client with another certificate than its description names is refused', async () => {
    const { socket: server, port } = await open();
    const end = new End({
      role: 'server',
      certificate: identity('p256').own,
      remoteFingerprints: fingerprintOf(identity('p384').own),
      srtpProfiles: ['AEAD_AES_128_GCM'],
    });
    let to = 0;
    end.deliver = (datagram) => server.send(datagram, to, '127.0.0.1');
    server.on('message', (data, from) => {
      to = from.port;
      end.session.receive(data);
    });
    end.session.start();
    const output = openssl('s_client', identity('rsa'), 56, ['-connect', `127.0.0.1:${port}`]);
    await until(
      () => end.events.length > 0,
      () => `failed\n${output()}`,
    );
    expect(end.events).toEqual(['failed']);
    expect(end.reason).toBe('fingerprintMismatch');
    await until(
      () => /alert bad certificate/.test(output()),
      () => `alert\n${output()}`,
    );
  });
});
