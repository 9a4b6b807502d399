import { MalformedBytes } from '../../server/rtc/dtls/failure.ts';
import { splitFragments } from '../../server/rtc/dtls/fragments.ts';
import { readClientHello, readHelloVerifyRequest, readServerHello } from '../../server/rtc/dtls/hello-messages.ts';
import {
  readCertificateRequest,
  readCertificates,
  readCertificateVerify,
  readClientKeyExchange,
  readServerKeyExchange,
} from '../../server/rtc/dtls/key-messages.ts';
import { MAX_HANDSHAKES, MAX_TRANSMISSIONS_PER_FLIGHT } from '../../server/rtc/dtls/limits.ts';
import { splitDatagram } from '../../server/rtc/dtls/records.ts';
import { Pair } from '../dtls-pair.ts';
import { check, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

/** Datagrams of an honest handshake, in their order. */
function record(): { readonly client: readonly Buffer[]; readonly server: readonly Buffer[] } {
  const pair = new Pair().start().run(200);
  pair.client.session.close();
  return { client: pair.client.sent, server: pair.server.sent };
}

const READERS: readonly ((body: Buffer) => unknown)[] = [
  readClientHello,
  readHelloVerifyRequest,
  readServerHello,
  readCertificates,
  readServerKeyExchange,
  readCertificateRequest,
  readClientKeyExchange,
  readCertificateVerify,
];

/** Bodies of all messages in clear text. */
function bodies(datagrams: readonly Buffer[]): Buffer[] {
  return datagrams
    .flatMap((datagram) => splitDatagram(datagram).records)
    .filter(({ epoch, type }) => epoch === 0 && type === 22)
    .flatMap(({ fragment }) => splitFragments(fragment).fragments.map(({ bytes }) => bytes));
}

export const DTLS_MESSAGES: FuzzTarget = {
  name: 'dtls-messages',
  about: 'mutated handshake messages: every reader gives a value or says that they are malformed',
  open() {
    const recorded = record();
    const seeds = bodies([...recorded.client, ...recorded.server]);
    return (random) => {
      const body = random.mutate(random.pick(seeds));
      for (const read of READERS) {
        try {
          read(body);
        } catch (error) {
          if (!(error instanceof MalformedBytes)) throw error;
        }
      }
    };
  },
};

/** A mutated datagram; half of the time one record of it, or with its lengths made right again. */
function mutateDatagram(random: Random, datagram: Buffer): Buffer {
  const changed = random.mutate(datagram);
  if (random.oneIn(2) || changed.length < 13) return changed;
  // Lengths that fit let the change reach the handshake.
  changed.writeUInt16BE(changed.length - 13, 11);
  if (changed.length >= 25 && random.oneIn(2)) {
    changed.writeUIntBE(changed.length - 25, 14, 3);
    changed.writeUIntBE(0, 19, 3);
    changed.writeUIntBE(changed.length - 25, 22, 3);
  }
  return changed;
}

const INPUTS_PER_SESSION = 200;

export const DTLS_STRANGER: FuzzTarget = {
  name: 'dtls-stranger',
  about:
    'mutated datagrams of other handshakes at every stage: never connected, never ended once connected, bounded work',
  open() {
    const recorded = record();
    const seeds = [...recorded.client, ...recorded.server];
    let pair = new Pair();
    let end = pair.server;
    let inputs = INPUTS_PER_SESSION;
    let connected = false;
    return (random) => {
      if (inputs >= INPUTS_PER_SESSION || end.session.state === 'closed') {
        inputs = 0;
        pair = new Pair().start().run(random.pick([0, 0, 10, 20, 30, 100]));
        end = random.oneIn(2) ? pair.server : pair.client;
        connected = end.session.state === 'connected';
      }
      inputs += 1;
      end.session.receive(mutateDatagram(random, random.pick(seeds)));
      if (random.oneIn(20)) end.session.receive(random.bytes(random.int(300)));
      const { asymmetricOperations, handshakes } = end.session.counters;
      check(handshakes <= MAX_HANDSHAKES, `${handshakes} handshakes`);
      check(asymmetricOperations <= 4 * MAX_HANDSHAKES, `${asymmetricOperations} asymmetric operations`);
      check(end.sent.length <= 4 * MAX_HANDSHAKES * MAX_TRANSMISSIONS_PER_FLIGHT, `${end.sent.length} datagrams sent`);
      check((end.session.state === 'connected') === connected, `${end.events.join()} by datagrams of a stranger`);
    };
  },
};

export const DTLS_LINK: FuzzTarget = {
  name: 'dtls-link',
  about: 'a link that changes, repeats and loses datagrams of two honest sides: the same keys on both, or none',
  open() {
    return (random) => {
      // A handshake costs milliseconds: one in 100 iterations.
      if (!random.oneIn(100)) return;
      const change = (datagram: Buffer): Buffer[] => {
        if (random.oneIn(4)) return [mutateDatagram(random, datagram)];
        if (random.oneIn(6)) return [mutateDatagram(random, datagram), datagram];
        return random.oneIn(10) ? [] : [datagram];
      };
      const { client, server } = new Pair({ change, random: () => random.int(2 ** 20) / 2 ** 20 }).start().run(31_000);
      for (const { keys, events } of [client, server]) {
        check((keys !== undefined) === events.includes('connected'), `events ${events.join()}`);
        check(events.length > 0, 'neither connected nor failed within the deadline');
      }
      if (client.keys === undefined || server.keys === undefined) return;
      check(client.keys.local.masterKey.equals(server.keys.remote.masterKey), 'other keys on the other side');
      check(client.keys.remote.masterKey.equals(server.keys.local.masterKey), 'other keys on the other side');
    };
  },
};

export const DTLS_TARGETS: readonly FuzzTarget[] = [DTLS_MESSAGES, DTLS_STRANGER, DTLS_LINK];
