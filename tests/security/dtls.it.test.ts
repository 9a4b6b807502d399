import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Flight } from '../../server/rtc/dtls/flight.ts';
import { writeCertificates } from '../../server/rtc/dtls/key-messages.ts';
import { MAX_HANDSHAKES } from '../../server/rtc/dtls/limits.ts';
import { createOwnCertificate, ownCertificate, type OwnCertificate } from '../../server/rtc/dtls/own-certificate.ts';
import { ContentType, HandshakeType } from '../../server/rtc/dtls/protocol.ts';
import { RecordWriter } from '../../server/rtc/dtls/records.ts';
import { clientHello, HostileDtlsPeer, withMessage } from '../../testing/hostile/dtls-peer.ts';
import { ValidatedPath, type PathOptions } from '../../testing/hostile/validated-path.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';

/** Attacks on the DTLS of a running server, after one offer and one connectivity check; honest peers connect beside them. */

const HONEST = createOwnCertificate(30);
const OTHER = createOwnCertificate(30);

let server: ServerProcess;
let paths: ValidatedPath[] = [];
beforeAll(async () => {
  server = await ServerProcess.start();
});
afterEach(() => {
  for (const path of paths) path.close();
  paths = [];
});
afterAll(() => server.kill());

async function open(options: PathOptions): Promise<ValidatedPath> {
  const path = await ValidatedPath.open(server.url, { kind: 'watch', ...options });
  paths.push(path);
  return path;
}

interface Attempt {
  readonly certificate?: OwnCertificate;
  /** What the offer names; else the certificate's own. */
  readonly fingerprint?: string;
  readonly tamper?: (flight: Flight) => Flight | undefined;
  /** `actpass`: the server of ours is the DTLS server; `passive`: it is the client. */
  readonly setup?: 'actpass' | 'passive';
}

/** @returns whether the server finished the handshake, and the alerts it sent; waits for either */
async function connect(attempt: Attempt) {
  const { certificate = HONEST, setup = 'actpass', tamper } = attempt;
  const fingerprint = attempt.fingerprint ?? certificate.sha256Fingerprint;
  const path = await open({ offer: { fingerprint, setup } });
  const remote = /a=fingerprint:sha-256 (\S+)/.exec(path.answer)?.[1] ?? '';
  const peer = new HostileDtlsPeer({
    role: setup === 'actpass' ? 'client' : 'server',
    certificate,
    remoteFingerprints: [{ algorithm: 'sha-256', value: remote }],
    send: (datagram) => path.send(datagram),
    ...(tamper === undefined ? {} : { tamper }),
  });
  path.onDatagram = (data) => peer.receive(data);
  for (const early of path.received) peer.receive(early);
  peer.start();
  const end = performance.now() + 20_000;
  // A server has the keys before the client has seen its Finished.
  const settled = () => peer.alerts.length > 0 || (peer.keys !== undefined && tamper === undefined);
  while (!settled() && performance.now() < end) await sleep(10);
  return { connected: peer.keys !== undefined, alerts: peer.alerts.map(([, description]) => description), path, peer };
}

const forged = (type: number, change: (body: Buffer) => Buffer) => (flight: Flight) =>
  withMessage(flight, type, change);
const garbage = (body: Buffer) => Buffer.concat([body.subarray(0, 4), Buffer.alloc(body.length - 4, 0x42)]);

describe('a peer that cannot prove who it is', () => {
  it.each<readonly [string, Attempt, number]>([
    ['certificate of another, own key', { certificate: ownCertificate(HONEST.der, OTHER.privateKey) }, 51],
    ['CertificateVerify 42 42 42...', { tamper: forged(HandshakeType.certificateVerify, garbage) }, 51],
    ['Finished 42 42 42...', { tamper: forged(HandshakeType.finished, () => Buffer.alloc(12, 0x42)) }, 51],
    ['another certificate than its offer names', { certificate: OTHER, fingerprint: HONEST.sha256Fingerprint }, 42],
    ['no certificate', { tamper: forged(HandshakeType.certificate, () => writeCertificates([])) }, 40],
    [
      'as server: certificate of another, own key',
      { certificate: ownCertificate(HONEST.der, OTHER.privateKey), setup: 'passive' },
      51,
    ],
    [
      'as server: ServerKeyExchange with a signature 42 42 42...',
      {
        setup: 'passive',
        tamper: forged(HandshakeType.serverKeyExchange, (body) =>
          Buffer.concat([body.subarray(0, 44), Buffer.alloc(body.length - 44, 0x42)]),
        ),
      },
      51,
    ],
    [
      'as server: Finished 42 42 42...',
      { setup: 'passive', tamper: forged(HandshakeType.finished, () => Buffer.alloc(12, 0x42)) },
      51,
    ],
  ])('%s: refused, while an honest one connects', async (_what, attempt, alert) => {
    const { setup = 'actpass' } = attempt;
    const [honest, hostile] = await Promise.all([connect({ setup }), connect(attempt)]);
    expect(honest).toMatchObject({ connected: true, alerts: [] });
    expect(hostile.alerts).toEqual([alert]);
    // A forged Finished of a server is all that its peer sees of it: it has keys, which the other side threw away.
    if (setup === 'actpass') expect(hostile.connected).toBe(false);
    await expect
      .poll(() => hostile.path.signaling.states.find(({ state }) => state === 'ended')?.code, { timeout: 20_000 })
      .toBe('peer.handshake');
    expect(honest.path.signaling.states.some(({ state }) => state === 'ended')).toBe(false);
  });

  it('nor may one that names no strong fingerprint ask at all', async () => {
    await expect(open({ offer: { fingerprint: 'AB:CD' } })).rejects.toMatchObject({ code: 'sdp.invalid' });
  });
});

/** A record with fragments of messages that claim this many bytes: the first byte of each, and the last. */
function bomb(sequence: number, pairs: number, type: number, length: number): Buffer {
  const fragment = (messageSequence: number, offset: number) => {
    const bytes = Buffer.alloc(13);
    bytes[0] = type;
    bytes.writeUIntBE(length, 1, 3);
    bytes.writeUInt16BE(messageSequence, 4);
    bytes.writeUIntBE(offset, 6, 3);
    bytes.writeUIntBE(1, 9, 3);
    return bytes;
  };
  const fragments = Array.from({ length: pairs }, (_, index) => {
    const messageSequence = (sequence * pairs + index) & 0xffff;
    return [fragment(messageSequence, 0), fragment(messageSequence, length - 1)];
  }).flat();
  const header = Buffer.alloc(13);
  header[0] = ContentType.handshake;
  header.writeUInt16BE(0xfefd, 1);
  header.writeUIntBE(sequence, 5, 6);
  header.writeUInt16BE(fragments.length * 13, 11);
  return Buffer.concat([header, ...fragments]);
}

describe('fragments of messages of 16 MiB', () => {
  it.each([
    ['11: one datagram of 65 bytes', 11, 2, 1],
    ['2: 20 datagrams', 2, 50, 20],
    ['2: one datagram of 52 kB', 2, 2000, 1],
    ['11: 2000 datagrams', 11, 25, 2000],
  ])('type %s: the process serves on, and takes no memory', async (_what, type, pairs, datagrams) => {
    const path = await open({});
    const before = server.residentMiB();
    for (let n = 0; n < datagrams; n++) {
      path.send(bomb(n, pairs, type, 0xffffff));
      if (n % 100 === 99) await sleep(10);
    }
    await sleep(300);
    expect((await server.get('/healthz')).status).toBe(200);
    expect(server.exit).toBeUndefined();
    expect(server.residentMiB() - before).toBeLessThan(40);
    expect((await connect({})).connected).toBe(true);
  });

  it('after the handshake, too', async () => {
    const { path, connected } = await connect({});
    expect(connected).toBe(true);
    for (let n = 0; n < 200; n++) path.send(bomb(n, 50, 11, 0xffffff));
    await sleep(300);
    expect((await server.get('/healthz')).status).toBe(200);
    expect(path.signaling.states.some(({ state }) => state === 'ended')).toBe(false);
  });
});

describe('floods and forgeries from a validated address', () => {
  it('6000 ClientHello in 3 s: few are answered, one key exchange is made, others connect meanwhile', async () => {
    const path = await open({});
    let sent = 0;
    const flood = (async () => {
      for (let round = 0; round < 300; round++) {
        for (let n = 0; n < 20; n++) {
          const datagram = clientHello();
          sent += datagram.length;
          path.send(datagram);
        }
        await sleep(10);
      }
    })();
    const honest = await connect({});
    await flood;
    await sleep(200);
    expect(honest.connected).toBe(true);
    const answered = path.received.reduce((sum, data) => sum + data.length, 0);
    expect(answered).toBeLessThan(sent / 20);
    const flights = path.received.filter((data) => data[13] === HandshakeType.serverHello);
    // The first ClientHello's flight and its repetitions: all with the same random.
    expect(new Set(flights.map((data) => data.subarray(27, 59).toString('hex'))).size).toBeLessThanOrEqual(
      MAX_HANDSHAKES,
    );
    expect(flights.length).toBeLessThan(10);
  });

  it('alerts, ClientHello, ChangeCipherSpec and noise in clear text do not end a session', async () => {
    const { path, connected, peer } = await connect({});
    expect(connected).toBe(true);
    const writer = new RecordWriter();
    for (const alert of [
      [2, 40],
      [1, 0],
      [2, 0],
    ]) {
      path.send(writer.write(ContentType.alert, 0, Buffer.from(alert)));
    }
    path.send(writer.write(ContentType.changeCipherSpec, 0, Buffer.from([1])));
    path.send(clientHello());
    for (let n = 0; n < 200; n++) path.send(Buffer.concat([Buffer.from([20 + (n % 44)]), randomBytes(n)]));
    await sleep(500);
    expect(path.signaling.states.some(({ state }) => state === 'ended')).toBe(false);
    expect(peer.alerts).toEqual([]);

    peer.send(ContentType.alert, 1, Buffer.from([1, 0])); // an authentic goodbye ends it
    await expect
      .poll(() => path.signaling.states.some(({ state }) => state === 'ended'), { timeout: 20_000 })
      .toBe(true);
  });
});
