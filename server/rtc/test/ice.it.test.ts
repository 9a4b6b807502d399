import { createSocket, type Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { Message, classes, methods, parseMessage } from 'werift';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { IceCandidate, PublisherListener, RtcOptions } from '../peers.ts';
import { testRtcOptions } from '../../../testing/rtc-options.ts';
import { PeerStack } from '../peer-stack.ts';
import { CHROMIUM_PUBLISH } from '../../../testing/offers.ts';

const OPTIONS = testRtcOptions();
const LISTENER: PublisherListener = {
  onState: () => undefined,
  onAccessUnit: () => undefined,
  onVideoPacket: () => undefined,
  onAudioPacket: () => undefined,
  onDrop: () => undefined,
};

const candidatesOf = (answer: string) =>
  [...answer.matchAll(/^a=(candidate:\S+ 1 udp \d+ (\S+) (\d+) typ (\S+).*)\r$/gm)].map(
    ([, text, host, port, type]) => ({
      text,
      host,
      port: Number(port),
      type,
    }),
  );

/** A STUN server (RFC 8489 section 6.3.1) that calls every asker 198.51.100.9:4321, while `answers` says so. */
async function stunServer(answers: () => boolean = () => true): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.on('message', (data, from) => {
    const request = parseMessage(data);
    if (request === undefined || !answers()) return;
    const response = new Message(methods.BINDING, classes.RESPONSE, request.transactionId);
    response.setAttribute('XOR-MAPPED-ADDRESS', ['198.51.100.9', 4321]);
    socket.send(response.bytes, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return socket;
}

describe('ICE options', () => {
  const stacks: PeerStack[] = [];
  const sockets: Socket[] = [];
  const stackWith = (options: Partial<RtcOptions>) => {
    const stack = new PeerStack({ ...OPTIONS, ...options });
    stacks.push(stack);
    return stack;
  };

  afterEach(async () => {
    await Promise.all(stacks.splice(0).map((stack) => stack.close()));
    for (const socket of sockets.splice(0)) socket.close();
  });

  it('put the STUN server’s view of us into the answer', async () => {
    const server = await stunServer();
    sockets.push(server);
    const peer = stackWith({ servers: [{ urls: `stun:127.0.0.1:${server.address().port}` }] }).createPublisher(
      LISTENER,
    );
    const answer = await peer.accept(CHROMIUM_PUBLISH);
    const reflexive = candidatesOf(answer).find(({ type }) => type === 'srflx');
    expect(reflexive).toMatchObject({ host: '198.51.100.9', port: 4321 });
    expect(reflexive?.text).toMatch(/raddr 127\.0\.0\.1 rport \d+$/);
    expect(answer).toContain('a=end-of-candidates');
  });

  it('do not let a slow STUN server hold the answer up: its candidate trickles', async () => {
    let answering = false;
    const server = await stunServer(() => answering);
    sockets.push(server);
    const late: IceCandidate[] = [];
    const stack = stackWith({ servers: [{ urls: `stun:127.0.0.1:${server.address().port}` }] });
    const peer = stack.createPublisher({ ...LISTENER, onCandidate: (candidate) => late.push(candidate) });
    const answer = await peer.accept(CHROMIUM_PUBLISH);
    expect(candidatesOf(answer).map(({ type }) => type)).toEqual(['host']);
    expect(answer).not.toContain('end-of-candidates');
    expect(late).toEqual([]);
    answering = true; // the next repetition of the query
    await expect.poll(() => late.length, { timeout: 30_000 }).toBeGreaterThan(0);
    expect(late[0]?.candidate).toContain('198.51.100.9 4321 typ srflx');
  });

  it('contact no server when none is configured', async () => {
    const peer = stackWith({}).createPublisher(LISTENER);
    // No timer fires: an answer that waited for a server's would not come.
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    const answer = await peer.accept(CHROMIUM_PUBLISH).finally(() => vi.useRealTimers());
    expect(candidatesOf(answer).map(({ type }) => type)).toEqual(['host']);
  });

  it('refuse servers that cannot be used, at once and by name', () => {
    const refusal = (server: RtcOptions['servers'][number]) => {
      try {
        return String(stackWith({ servers: [server] }).size);
      } catch (error) {
        return String(error);
      }
    };
    expect(refusal({ urls: 'http://example.org' })).toMatch(/ice\.servers.*http:\/\/example\.org/);
    expect(refusal({ urls: 'stun:' })).toMatch(/ice\.servers.*stun:/);
    expect(refusal({ urls: 'turn:example.org:3478' })).toMatch(/ice\.servers.*username/);
    expect(refusal({ urls: 'turn:example.org:3478?transport=tcp', username: 'u', credential: 'c' })).toBe('0');
  });

  it('give every peer its own port of the range, also when all come at once, and say when none is left', async () => {
    const stack = stackWith({ portRange: [46_100, 46_109] });
    const peers = Array.from({ length: 10 }, () => stack.createPublisher(LISTENER));
    const answers = await Promise.all(peers.map((peer) => peer.accept(CHROMIUM_PUBLISH)));
    const ports = answers.map((answer) => candidatesOf(answer)[0]?.port ?? 0);
    expect(new Set(ports).size).toBe(10);
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(46_100);
    expect(Math.max(...ports)).toBeLessThanOrEqual(46_109);
    const eleventh = stack.createPublisher(LISTENER);
    await expect(eleventh.accept(CHROMIUM_PUBLISH)).rejects.toMatchObject({ code: 'peer.connection' });
    expect(stack.size).toBe(10);
    await peers[0]?.close();
    const twelfth = stack.createPublisher(LISTENER);
    expect(candidatesOf(await twelfth.accept(CHROMIUM_PUBLISH))[0]?.port).toBe(ports[0]);
  });

  it('listen on all interfaces with one socket and announce each address', async () => {
    const answer = await stackWith({ interfaceAddresses: [] }).createPublisher(LISTENER).accept(CHROMIUM_PUBLISH);
    const own = Object.values(networkInterfaces())
      .flatMap((infos) => infos ?? [])
      .filter(({ internal, family, address }) => !internal && family === 'IPv4' && !address.startsWith('169.254.'))
      .map(({ address }) => address);
    const candidates = candidatesOf(answer);
    expect(candidates.map(({ host }) => host)).toEqual(own.length > 0 ? own : ['127.0.0.1']);
    expect(new Set(candidates.map(({ port }) => port)).size).toBe(1);
  });

  const hasIpv6 = Object.values(networkInterfaces()).some((infos) => infos?.some(({ address }) => address === '::1'));
  it.skipIf(!hasIpv6)('use IPv6 only when switched on', async () => {
    const addresses = ['127.0.0.1', '::1'];
    const off = await stackWith({ interfaceAddresses: addresses }).createPublisher(LISTENER).accept(CHROMIUM_PUBLISH);
    expect(candidatesOf(off).map(({ host }) => host)).toEqual(['127.0.0.1']);
    const on = await stackWith({ interfaceAddresses: addresses, ipv6: true })
      .createPublisher(LISTENER)
      .accept(CHROMIUM_PUBLISH);
    expect(candidatesOf(on).map(({ host }) => host)).toEqual(['127.0.0.1', '::1']);
  });

  it('close in the middle of accepting leaves nothing open', async () => {
    const count = () => process.getActiveResourcesInfo().filter((name) => name === 'UDPWRAP').length;
    const before = count();
    const stack = stackWith({});
    const peers = Array.from({ length: 20 }, () => stack.createPublisher(LISTENER));
    const accepting = peers.map((peer) => peer.accept(CHROMIUM_PUBLISH).catch((error: { code: string }) => error.code));
    const closing = peers.map(async (peer, index) => {
      await new Promise((resolve) => setTimeout(resolve, index % 4));
      await peer.close();
    });
    const results = await Promise.all(accepting);
    await Promise.all(closing);
    for (const result of results) expect(result).toMatch(/^(v=0|request\.unknownSession)/);
    await expect.poll(count, { timeout: 30_000 }).toBe(before);
    expect(stack.size).toBe(0);
  });
});
