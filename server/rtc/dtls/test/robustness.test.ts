import { describe, expect, it } from 'vitest';
import { HostileDtlsPeer } from '../../../../testing/hostile/dtls-peer.ts';
import { uint16, uint24, uint8 } from '../bytes.ts';
import { writeClientHello } from '../hello-messages.ts';
import { HELLO_VERIFY_BURST, MAX_HANDSHAKES, MAX_TRANSMISSIONS_PER_FLIGHT } from '../limits.ts';
import { ContentType, HandshakeType } from '../protocol.ts';
import { RecordWriter } from '../records.ts';
import { wholeMessage } from '../transcript.ts';
import { CERTIFICATES, End, FakeClock, fingerprintOf, Pair, seeded } from '../../../../testing/dtls-pair.ts';

/** Strangers who forge the address of the peer, and peers who misbehave. */

const ALERTS = [
  [2, 40],
  [2, 0],
  [1, 0],
  [2, 80],
] as const;
const plain = (type: number, content: Buffer) => new RecordWriter().write(type, 0, content);
const record = (type: number, epoch: number, sequence: number, content: Buffer) =>
  Buffer.concat([
    uint8(type),
    uint16(0xfefd),
    uint16(epoch),
    uint24(0),
    uint24(sequence),
    uint16(content.length),
    content,
  ]);
const message = (type: number, messageSequence: number, body: Buffer) =>
  plain(ContentType.handshake, wholeMessage({ type, messageSequence, body }));
const hello = (random: Buffer, messageSequence = 0, cookie: Buffer = Buffer.alloc(0)) =>
  message(
    HandshakeType.clientHello,
    messageSequence,
    writeClientHello({
      random,
      cookie,
      suites: [0xc02b],
      extensions: {
        extendedMasterSecret: true,
        supportedGroups: [29],
        signatureAlgorithms: [0x0403],
        useSrtp: { profiles: [7], mki: Buffer.alloc(0) },
      },
    }),
  );
const ends = (pair: Pair) => [pair.server, pair.client];

describe('strangers, before the peer is authenticated', () => {
  it('alerts in clear text do not end a handshake that goes on', () => {
    const change = (datagram: Buffer) => [
      ...ALERTS.map((alert) => plain(ContentType.alert, Buffer.from(alert))),
      datagram,
      ...ALERTS.map((alert) => plain(ContentType.alert, Buffer.from(alert))),
    ];
    const pair = new Pair({ change }).start().run(10_000);
    for (const end of ends(pair)) expect(end.events).toEqual(['connected']);
  });

  it('a fatal alert in clear text ends a handshake that stands still for 4 s, and says which it was', () => {
    const pair = new Pair();
    pair.server.session.start();
    pair.server.session.receive(plain(ContentType.alert, Buffer.from([2, 40])));
    pair.run(3999);
    expect(pair.server.events).toEqual([]);
    pair.run(1);
    expect(pair.server.events).toEqual(['failed']);
    expect(pair.server.reason).toBe('peerAlert');
    expect(pair.server.error?.message).toContain('handshake_failure');
  });

  it('garbage of every kind in front of every datagram only delays (50 seeds)', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = seeded(seed);
      const bytes = (count: number) => Buffer.from(Array.from({ length: count }, () => random() * 256));
      const change = (datagram: Buffer) => [
        bytes(1 + random() * 200),
        plain(ContentType.handshake, bytes(random() * 200)),
        record(ContentType.handshake, 1, random() * 0xffffff, bytes(random() * 60)),
        record(ContentType.applicationData, 0, 0, bytes(20)),
        plain(ContentType.changeCipherSpec, Buffer.from([1])),
        message(HandshakeType.finished, Math.floor(random() * 6), bytes(12)),
        message(HandshakeType.helloRequest, 0, Buffer.alloc(0)),
        datagram,
      ];
      const pair = new Pair({ change, random }).start().run(29_000);
      for (const end of ends(pair)) expect({ seed, events: end.events }).toEqual({ seed, events: ['connected'] });
    }
  });

  it('a ChangeCipherSpec that is early, repeated or odd changes nothing', () => {
    const pair = new Pair();
    pair.server.session.start();
    for (const content of [[1], [1, 1], [0], []]) {
      pair.server.session.receive(plain(ContentType.changeCipherSpec, Buffer.from(content)));
    }
    pair.start().run();
    for (const end of ends(pair)) expect(end.events).toEqual(['connected']);
    expect(pair.server.session.counters.refused).toBe(4);
  });

  it('Finished in clear text is not Finished', () => {
    const clock = new FakeClock();
    const end = new End({
      role: 'server',
      certificate: CERTIFICATES.server,
      remoteFingerprints: fingerprintOf(CERTIFICATES.client),
      srtpProfiles: ['AEAD_AES_128_GCM'],
      clock,
    });
    const peer = new HostileDtlsPeer({
      role: 'client',
      certificate: CERTIFICATES.client,
      remoteFingerprints: fingerprintOf(CERTIFICATES.server),
      send: (datagram) => end.session.receive(datagram),
      // The right Finished, in clear text, before and after the ChangeCipherSpec.
      tamper: (flight) => {
        const { finished, messages } = flight;
        if (finished === undefined) return flight;
        peer.sendFlight({ messages: [...messages, finished] });
        peer.send(ContentType.changeCipherSpec, 0, Buffer.from([1]));
        peer.sendFlight({ messages: [finished] });
        return undefined;
      },
    });
    end.deliver = (datagram) => clock.after(1, () => peer.receive(datagram));
    end.session.start();
    peer.start();
    clock.advance(1000);
    expect(end.events).toEqual([]);
    clock.advance(30_000);
    expect(end.events).toEqual(['failed']);
    expect(end.reason).toBe('timeout');
  });

  it('a forged ClientHello before the real one costs a cookie, not the session', () => {
    const pair = new Pair();
    pair.server.session.start();
    pair.server.deliver = () => undefined; // the stranger does not see the answer
    pair.server.session.receive(hello(Buffer.alloc(32, 1)));
    pair.server.deliver = (datagram) => pair.clock.after(10, () => pair.client.session.receive(datagram));
    pair.client.session.start();
    pair.run();
    for (const end of ends(pair)) expect(end.events).toEqual(['connected']);
    expect(pair.server.session.counters).toMatchObject({ handshakes: 2, helloVerifyRequests: 1 });
  });

  it('a forged ClientHello in the middle of a handshake does not disturb it', () => {
    let n = 0;
    const change = (datagram: Buffer, from: 'server' | 'client') =>
      from === 'client' ? [datagram, hello(Buffer.alloc(32, ++n))] : [datagram];
    const pair = new Pair({ change }).start().run();
    expect(pair.server.events).toEqual(['connected']);
    expect(pair.client.events).toEqual(['connected']);
    expect(pair.server.session.counters.handshakes).toBe(1);
  });
});

describe('floods', () => {
  it('20 000 ClientHello in 10 s cost at most MAX_HANDSHAKES key exchanges and few answers', () => {
    const pair = new Pair();
    const { session, sent } = pair.server;
    session.start();
    let bytes = 0;
    for (let n = 0; n < 20_000; n++) {
      const random = Buffer.alloc(32);
      random.writeUInt32BE(n);
      const datagram = hello(random);
      bytes += datagram.length;
      session.receive(datagram);
      if (n % 2000 === 1999) pair.run(1000);
    }
    expect(session.counters.asymmetricOperations).toBe(2);
    // The burst, ten a second, and one flight with its repetitions.
    expect(session.counters.helloVerifyRequests).toBeLessThanOrEqual(HELLO_VERIFY_BURST + 10 * 11);
    const answered = sent.reduce((sum, datagram) => sum + datagram.length, 0);
    expect(answered).toBeLessThan(bytes / 100);
  });

  it('a sender who reads the cookies starts MAX_HANDSHAKES handshakes, not more', () => {
    const pair = new Pair();
    const { session, sent } = pair.server;
    session.start();
    for (let n = 0; n < 50; n++) {
      const random = Buffer.alloc(32, n);
      session.receive(hello(random));
      const last = sent.at(-1) as Buffer;
      if (last[13] === HandshakeType.helloVerifyRequest) session.receive(hello(random, 1, last.subarray(28)));
      pair.run(200);
    }
    expect(session.counters.handshakes).toBe(MAX_HANDSHAKES);
    expect(session.counters.asymmetricOperations).toBe(2 * MAX_HANDSHAKES);
  });

  it('a cookie of another ClientHello, or an invented one, is refused', () => {
    const pair = new Pair();
    const { session, sent } = pair.server;
    session.start();
    session.receive(hello(Buffer.alloc(32, 1)));
    session.receive(hello(Buffer.alloc(32, 2)));
    const cookie = (sent.at(-1) as Buffer).subarray(28);
    session.receive(hello(Buffer.alloc(32, 3), 1, Buffer.from(cookie)));
    session.receive(hello(Buffer.alloc(32, 4), 1, Buffer.alloc(32)));
    session.receive(hello(Buffer.alloc(32, 5), 1, cookie.subarray(0, 31)));
    expect(session.counters.handshakes).toBe(1);
  });

  it('a repeated ClientHello brings our flight again, at most ten times a second and twenty times', () => {
    const pair = new Pair();
    const { session, sent } = pair.server;
    session.start();
    const first = hello(Buffer.alloc(32, 1));
    session.receive(first);
    const flight = sent.length;
    for (let n = 0; n < 1000; n++) session.receive(first);
    expect(sent.length).toBe(flight);
    pair.run(100);
    session.receive(first);
    expect(sent.length).toBe(2 * flight);
    for (let n = 0; n < 200; n++) {
      pair.run(100);
      session.receive(first);
    }
    expect(sent.length).toBe(MAX_TRANSMISSIONS_PER_FLIGHT * flight);
  });

  it('datagrams full of fragments cost asymmetric operations of one handshake', () => {
    const pair = new Pair();
    const { session } = pair.server;
    session.start();
    session.receive(hello(Buffer.alloc(32, 1)));
    const bomb = (type: number, sequence: number, offset: number, length: number) =>
      Buffer.concat([uint8(type), uint24(length), uint16(sequence), uint24(offset), uint24(1), uint8(1)]);
    for (const length of [0xffffff, 16_384, 8192, 4096]) {
      for (let n = 0; n < 500; n++) {
        const parts = Array.from({ length: 50 }, (_, index) =>
          bomb(11 + (n % 6), 1 + (index % 9), n * 50 + index, length),
        );
        session.receive(plain(ContentType.handshake, Buffer.concat(parts)));
      }
    }
    expect(session.counters.asymmetricOperations).toBe(2);
    expect(session.state).toBe('handshake');
  });
});

describe('after the handshake', () => {
  function connected() {
    const pair = new Pair().start().run();
    expect(pair.server.events).toEqual(['connected']);
    return pair;
  }

  it('only authentic records count', () => {
    const pair = connected();
    for (const end of ends(pair)) {
      const before = end.sent.length;
      for (const alert of ALERTS) {
        end.session.receive(plain(ContentType.alert, Buffer.from(alert)));
        end.session.receive(record(ContentType.alert, 1, 9, Buffer.from(alert)));
        end.session.receive(record(ContentType.alert, 1, 9, Buffer.alloc(26, alert[1])));
        end.session.receive(record(ContentType.alert, 2, 0, Buffer.alloc(26)));
      }
      end.session.receive(hello(Buffer.alloc(32, 1)));
      end.session.receive(message(HandshakeType.helloRequest, 0, Buffer.alloc(0)));
      end.session.receive(plain(ContentType.changeCipherSpec, Buffer.from([1])));
      expect(end.events).toEqual(['connected']);
      expect(end.sent.length).toBe(before);
    }
  });

  it('close_notify ends both sides, and a replay of it nothing', () => {
    const pair = connected();
    pair.client.session.close();
    pair.client.session.close();
    const goodbye = pair.client.sent.at(-1) as Buffer;
    pair.run(100);
    expect(pair.client.events).toEqual(['connected']);
    expect(pair.server.events).toEqual(['connected', 'closed']);
    pair.server.session.receive(goodbye);
    expect(pair.server.events).toEqual(['connected', 'closed']);
  });

  it('the last flight is repeated when the client repeats its own', () => {
    let lost = 0;
    const pair = new Pair({
      change: (datagram, from) => {
        // The server's ChangeCipherSpec and Finished, twice.
        if (from === 'server' && datagram[0] === ContentType.changeCipherSpec && lost++ < 2) return [];
        return [datagram];
      },
    });
    pair.start().run(100);
    expect(pair.server.events).toEqual(['connected']);
    expect(pair.client.events).toEqual([]);
    pair.run(2000);
    expect(pair.client.events).toEqual(['connected']);
    expect(pair.server.session.counters.repeatedFlights).toBe(2);
  });

  it('a renegotiation is refused once, and the session stays', () => {
    for (const role of ['client', 'server'] as const) {
      const clock = new FakeClock();
      const [own, theirs] = [CERTIFICATES[role], CERTIFICATES[role === 'client' ? 'server' : 'client']];
      const end = new End({
        role,
        certificate: own,
        remoteFingerprints: fingerprintOf(theirs),
        srtpProfiles: ['AEAD_AES_128_GCM'],
        clock,
      });
      const peer = new HostileDtlsPeer({
        role: role === 'client' ? 'server' : 'client',
        certificate: theirs,
        remoteFingerprints: fingerprintOf(own),
        send: (datagram) => clock.after(1, () => end.session.receive(datagram)),
      });
      end.deliver = (datagram) => clock.after(1, () => peer.receive(datagram));
      end.session.start();
      peer.start();
      clock.advance(100);
      const type = role === 'client' ? HandshakeType.helloRequest : HandshakeType.clientHello;
      for (const messageSequence of [0, 5, 6]) {
        const body = wholeMessage({ type, messageSequence, body: Buffer.alloc(0) });
        peer.send(ContentType.handshake, 1, body);
      }
      peer.send(ContentType.applicationData, 1, Buffer.from('not ours'));
      clock.advance(100);
      expect(end.events).toEqual(['connected']);
      expect(peer.alerts).toEqual([[1, 100]]);

      peer.send(ContentType.alert, 1, Buffer.from([2, 80])); // authentic and fatal
      clock.advance(10);
      expect(end.events).toEqual(['connected', 'failed']);
      expect(end.error?.message).toContain('internal_error');
    }
  });
});

describe('time', () => {
  it('a flight is repeated after 250 ms, then twice as late each time; after 30 s an alert ends the handshake', () => {
    const pair = new Pair({ lossShare: 1 });
    pair.client.session.start();
    const at: number[] = [];
    for (let ms = 0; ms <= 31_000; ms += 50) {
      if (pair.client.sent.length > at.length) at.push(ms);
      pair.run(50);
    }
    expect(at).toEqual([0, 250, 750, 1750, 3750, 7750, 15_750, 30_000]);
    expect(pair.client.events).toEqual(['failed']);
    expect(pair.client.reason).toBe('timeout');
    expect(pair.client.error?.message).toContain('30 s');
  });

  it.each([
    [2, [0, 50, 150, 350, 750, 1550]],
    [60, [0, 120, 360, 840]],
    [900, [0, 1000, 3000]],
  ])(
    'where ICE has measured a round trip of %i ms, the first repetition is due at twice that',
    (roundTripMs, times) => {
      const pair = new Pair({ lossShare: 1, client: { roundTripMs: () => roundTripMs } });
      pair.client.session.start();
      const at: number[] = [];
      for (let ms = 0; ms <= (times.at(-1) ?? 0); ms += 10) {
        if (pair.client.sent.length > at.length) at.push(ms);
        pair.run(10);
      }
      expect(at).toEqual(times);
    },
  );

  it('a server that takes the first ClientHello for a sign to begin, as FFmpeg does, costs one repetition of 50 ms', () => {
    let hellos = 0;
    const pair = new Pair({
      delayMs: 1,
      client: { roundTripMs: () => 2 },
      change: (datagram, from) => (from === 'client' && hellos++ === 0 ? [] : [datagram]),
    });
    pair.start().run(60);
    expect(pair.client.events).toEqual(['connected']);
    expect(pair.server.events).toEqual(['connected']);
    expect(pair.client.session.counters.repeatedFlights).toBe(1);
  });

  it('nothing happens before start() or after close()', () => {
    const pair = new Pair();
    pair.server.session.receive(hello(Buffer.alloc(32, 1)));
    expect(pair.server.sent).toEqual([]);
    pair.start();
    pair.server.session.close();
    pair.client.session.close();
    pair.run(60_000);
    expect(pair.server.events).toEqual([]);
    expect(pair.client.events).toEqual([]);
    expect(pair.client.session.state).toBe('closed');
  });

  it('a message at its place that does not parse is dropped; the fourth ends the handshake', () => {
    const pair = new Pair();
    pair.server.session.start();
    pair.server.session.receive(hello(Buffer.alloc(32, 1)));
    const odd = message(HandshakeType.certificate, 1, Buffer.from([0, 0, 9, 1]));
    for (let n = 0; n < 3; n++) pair.server.session.receive(odd);
    expect(pair.server.events).toEqual([]);
    pair.server.session.receive(odd);
    expect(pair.server.events).toEqual(['failed']);
    expect(pair.server.reason).toBe('malformed');
    expect(pair.server.error?.message).toContain('message type 11 is malformed');
  });
});
