import { createSocket, type Socket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { plainOffer } from '../../testing/hostile/offers.ts';
import {
  attribute,
  checkError,
  connectivityCheck,
  isStun,
  StunAttribute,
  stunMessage,
  StunType,
  transactionOf,
  type IceCredentials,
} from '../../testing/hostile/stun.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';

/** Attacks on ICE, against a running server on loopback. */

const PASSWORD = 'p'.repeat(24);
const USERNAME_FRAGMENT = 'abcd';

let server: ServerProcess;
const ends: (() => unknown)[] = [];
beforeAll(async () => {
  const limits = {
    maxViewers: 2000,
    maxViewersPerBroadcast: 2000,
    maxViewersPerAddress: 2000,
    maxMessagesPerSecond: 500,
  };
  const args = Object.entries(limits).flatMap(([name, value]) => [`--limits.${name}`, String(value)]);
  server = await ServerProcess.start({ args });
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  expect(server.exit).toBeUndefined();
  expect(server.log).not.toContain('unhandledRejection');
});
afterAll(() => server.kill());

/** A socket that counts what comes, at any address of the loopback network. */
class Victim {
  packets = 0;
  bytes = 0;
  onMessage: (data: Buffer, port: number) => void = () => undefined;
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (data, { port }) => {
      this.packets += 1;
      this.bytes += data.length;
      this.onMessage(data, port);
    });
    ends.push(() => socket.close());
  }

  static async open(address = '127.0.0.1'): Promise<Victim> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
    await new Promise<void>((resolve) => socket.bind(0, address, resolve));
    return new Victim(socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  send(data: Buffer, port: number): void {
    this.#socket.send(data, port, '127.0.0.1');
  }
}

interface Session {
  readonly signaling: SignalingClient;
  readonly session: string;
  readonly server: IceCredentials & { readonly port: number };
}

async function watch(offer: Parameters<typeof plainOffer>[0] = {}): Promise<Session> {
  const signaling = await SignalingClient.connect(server.url);
  ends.push(() => signaling.terminate());
  const sdp = plainOffer({ kind: 'watch', usernameFragment: USERNAME_FRAGMENT, password: PASSWORD, ...offer });
  const reply = await signaling.watch(`ice-${randomBytes(4).toString('hex')}`, sdp);
  const find = (pattern: RegExp) => pattern.exec(reply.sdp)?.[1] ?? '';
  return {
    signaling,
    session: reply.session,
    server: {
      usernameFragment: find(/a=ice-ufrag:(\S+)/),
      password: find(/a=ice-pwd:(\S+)/),
      port: Number(find(/a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+)/)),
    },
  };
}

const naming = (victim: Victim, address: string) =>
  Array.from({ length: 64 }, (_, at) => `candidate:${at} 1 udp ${1000 + at} ${address} ${victim.port} typ host`);

describe('an address that a client only names', () => {
  it('gets a packet or two, however often an offer names it (ice-01a)', async () => {
    const victim = await Victim.open('127.0.0.77');
    const usernameFragment = 'U'.repeat(256);
    await watch({ usernameFragment, candidates: naming(victim, '127.0.0.77') });
    await sleep(4000);
    expect(victim.packets).toBeLessThanOrEqual(2);
    expect(victim.bytes).toBeLessThanOrEqual(1024);
  });

  it('gets nothing more by ICE restarts, of which one a second is taken (ice-01b, ice-02)', async () => {
    const victim = await Victim.open('127.0.0.78');
    const candidates = naming(victim, '127.0.0.78');
    const { signaling, session } = await watch({ candidates });
    let taken = 0;
    const refusals = new Set<string>();
    const startedAt = performance.now();
    for (let restart = 0; performance.now() - startedAt < 4000; restart += 1) {
      const sdp = plainOffer({ kind: 'watch', usernameFragment: `g${restart}`.padEnd(256, 'U'), candidates });
      await signaling
        .request({ type: 'restart', session, sdp }, 'restarted')
        .then(() => (taken += 1))
        .catch((error: unknown) => refusals.add(String(error).split(':')[1]?.trim() ?? ''));
      await sleep(50);
    }
    expect(taken).toBeLessThanOrEqual(1 + (performance.now() - startedAt) / 1000);
    expect([...refusals]).toEqual(['request.tooMany']);
    expect(victim.packets).toBeLessThanOrEqual(2);
    expect(victim.bytes).toBeLessThanOrEqual(1024);
  });

  it('trickled candidates of every port are eight for the session (ice-01)', async () => {
    const { signaling, session } = await watch();
    const victims = await Promise.all(Array.from({ length: 20 }, () => Victim.open('127.0.0.79')));
    for (const victim of victims) {
      const candidate = `candidate:1 1 udp 1 127.0.0.79 ${victim.port} typ host`;
      await signaling.request({ type: 'candidate', session, candidate: { candidate, sdpMLineIndex: 0 } }, 'ok');
    }
    await sleep(3000);
    expect(victims.filter(({ packets }) => packets > 0).length).toBeLessThanOrEqual(8);
    expect(victims.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(1024);
  });
});

describe('the source of a connectivity check', () => {
  it('gets back at most three times what came from it while it does not answer (ice-01c)', async () => {
    const { server: to } = await watch();
    const check = connectivityCheck(to, USERNAME_FRAGMENT);
    const sources = await Promise.all(Array.from({ length: 100 }, (_, at) => Victim.open(`127.0.3.${at + 1}`)));
    for (const source of sources) source.send(check, to.port);
    await sleep(6000);
    expect(Math.max(...sources.map(({ bytes }) => bytes / check.length))).toBeLessThanOrEqual(3);
    expect(sources[99]?.packets).toBeGreaterThan(0);
  });

  it.each([
    ['401', 401],
    ['487', 487],
    ['no code', undefined],
  ])('ends its pair by answering %s (ice-04)', async (_name, code) => {
    const { server: to } = await watch();
    const peer = await Victim.open();
    let checks = 0;
    peer.onMessage = (data, port) => {
      if (!isStun(data, StunType.request)) return;
      checks += 1;
      peer.send(checkError(transactionOf(data), PASSWORD, code), port);
    };
    for (let round = 0; round < 20; round += 1) {
      peer.send(connectivityCheck(to, USERNAME_FRAGMENT), to.port);
      await sleep(100);
    }
    expect(checks).toBeGreaterThan(0);
    expect(checks).toBeLessThanOrEqual(2);
  });

  it('costs no memory by answering 401 for seconds (ice-05)', async () => {
    const { server: to } = await watch();
    const before = server.residentMiB();
    let checks = 0;
    for (let at = 0; at < 8; at += 1) {
      const peer = await Victim.open();
      peer.onMessage = (data, port) => {
        if (!isStun(data, StunType.request)) return;
        checks += 1;
        peer.send(checkError(transactionOf(data), PASSWORD, 401), port);
      };
      peer.send(connectivityCheck(to, USERNAME_FRAGMENT), to.port);
    }
    await sleep(5000);
    expect(checks).toBeLessThanOrEqual(16);
    expect(server.residentMiB() - before).toBeLessThan(40);
  });

  it('costs no memory, however many there are (ice-06)', async () => {
    const { server: to } = await watch();
    const before = server.residentMiB();
    const check = connectivityCheck(to, USERNAME_FRAGMENT);
    for (let round = 0; round < 30; round += 1) {
      const sources = Array.from({ length: 200 }, () => createSocket('udp4'));
      const sent = (source: Socket) =>
        new Promise<void>((resolve) => source.send(check, to.port, '127.0.0.1', () => resolve()));
      await Promise.all(sources.map(sent));
      await sleep(50);
      for (const source of sources) source.close();
    }
    expect(server.residentMiB() - before).toBeLessThan(40);
  });
});

describe('datagrams of strangers', () => {
  const odd = (to: IceCredentials, at: number): Buffer => {
    const types = [
      0x0006, 0x0008, 0x0009, 0x000a, 0x0020, 0x0024, 0x0025, 0x8029, 0x802a, 0x8022, 0x8028, 0x0012, 0x0016,
    ];
    const user = attribute(StunAttribute.username, Buffer.from(`${to.usernameFragment}:${USERNAME_FRAGMENT}`));
    const other = attribute(types[at % types.length] ?? 0, randomBytes(at % 20));
    const kind = [0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x0002][at % 6] ?? 0;
    return stunMessage(kind, randomBytes(12), at % 2 === 0 ? [other, user] : [user, other], to.password);
  };
  const first = [0, 1, 2, 3, 20, 22, 23, 64, 128, 144, 200, 255];
  const makers: Readonly<Record<string, (to: IceCredentials, at: number) => Buffer>> = {
    'random bytes': (_to, at) => Buffer.concat([Buffer.from([first[at % 12] ?? 0]), randomBytes(at % 1400)]),
    'mutated checks': (to, at) => {
      const check = connectivityCheck(to, USERNAME_FRAGMENT);
      const where = 20 + (at % (check.length - 20));
      check[where] = (check[where] as number) ^ (1 + (at % 255));
      return check;
    },
    'STUN with right integrity and odd attributes': odd,
    'datagrams of 65507 bytes': (_to, at) => Buffer.alloc(65_507, [1, 22, 128, 200][at % 4]),
  };

  it.each(Object.keys(makers))('%s: the server lives, and little comes back (udp-01)', async (name) => {
    const { server: to } = await watch();
    const stranger = await Victim.open('127.0.0.66');
    let sent = 0;
    for (let at = 0; at < (name.includes('65507') ? 200 : 3000); at += 1) {
      const data = makers[name]?.(to, at) ?? Buffer.alloc(0);
      sent += data.length;
      stranger.send(data, to.port);
      if (at % 50 === 0) await sleep(5);
    }
    await sleep(1000);
    expect((await server.get('/healthz')).status).toBe(200);
    expect(stranger.bytes).toBeLessThanOrEqual(3 * sent);
  });
});

describe('300 sessions that end half way', () => {
  const cut = async (offer: string) => {
    const signaling = await SignalingClient.connect(server.url);
    const reply = signaling.watch('half-way', offer).catch(() => undefined);
    return { signaling, reply };
  };
  const kinds: Readonly<Record<string, () => Promise<void>>> = {
    'watch, then the socket is cut': async () => {
      const { signaling, reply } = await cut(plainOffer({ kind: 'watch' }));
      await reply;
      signaling.terminate();
    },
    'cut before the answer': async () => {
      const { signaling } = await cut(plainOffer({ kind: 'watch' }));
      signaling.terminate();
    },
    'one connectivity check, then leave': async () => {
      const half = await watch();
      const peer = await Victim.open();
      peer.send(connectivityCheck(half.server, USERNAME_FRAGMENT), half.server.port);
      await half.signaling.leave(half.session);
      for (const end of ends.splice(0)) await end();
    },
    'a bad offer': async () => {
      const { signaling, reply } = await cut('v=0\r\n');
      await reply;
      signaling.terminate();
    },
    '64 unreachable candidates, then cut': async () => {
      const candidates = Array.from(
        { length: 64 },
        (_, at) => `candidate:${at} 1 udp 1 127.0.0.200 ${20_000 + at} typ host`,
      );
      const { signaling, reply } = await cut(plainOffer({ kind: 'watch', candidates }));
      await reply;
      signaling.terminate();
    },
  };
  const sockets = () => server.descriptors().filter((to) => to.startsWith('socket:')).length;

  it.each(Object.keys(kinds))('%s: no socket stays (leak-01)', { timeout: 240_000 }, async (name) => {
    await kinds[name]?.(); // what is opened once
    let before = -1;
    for (let now = sockets(); now !== before; now = sockets()) {
      before = now;
      await sleep(500);
    }
    for (let round = 0; round < 300; round += 1) await kinds[name]?.();
    await expect.poll(sockets, { timeout: 60_000, interval: 100 }).toBeLessThanOrEqual(before + 2);
  });
});
