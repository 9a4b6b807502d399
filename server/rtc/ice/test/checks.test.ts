import { describe, expect, it } from 'vitest';
import type { Address } from '../../udp-socket.ts';
import { candidatePriority } from '../candidates.ts';
import { ConnectivityChecks, MAX_PAIRS } from '../checks.ts';
import type { Credentials, IceBase } from '../pair.ts';
import { buildCheck, buildError, buildSuccess, newTransactionId, parseStun } from '../stun.ts';

const MS = 1000;
const OURS = { localUfrag: 'ours', localPassword: 'o'.repeat(24) };
const THEIRS = { remoteUfrag: 'them', remotePassword: 't'.repeat(24) };
const CREDENTIALS: Credentials = { ...OURS, ...THEIRS };
const PEER: Address = ['192.0.2.1', 4000];

/** Datagrams between two agents with a delay, on a clock that only moves here. */
class Network {
  nowUs = 0;
  readonly sent: { data: Buffer; to: Address; atUs: number }[] = [];
  loses = (_data: Buffer, _to: Address): boolean => false;
  readonly #inFlight: { data: Buffer; from: Address; to: Address; atUs: number }[] = [];
  readonly #agents = new Map<string, { checks: ConnectivityChecks; base: IceBase }>();

  base(address: Address, type: 'host' | 'relay' = 'host'): IceBase {
    return {
      id: 0,
      type,
      family: 4,
      priority: candidatePriority(type),
      send: (data, to) => {
        this.sent.push({ data, to, atUs: this.nowUs });
        if (!this.loses(data, to)) this.#inFlight.push({ data, from: address, to, atUs: this.nowUs + 10 * MS });
      },
    };
  }

  add(address: Address, checks: ConnectivityChecks, base: IceBase): void {
    this.#agents.set(address.join(), { checks, base });
  }

  run(milliseconds: number): void {
    for (const until = this.nowUs + milliseconds * MS; this.nowUs < until; this.nowUs += 10 * MS) {
      for (const packet of this.#inFlight.splice(0)) {
        const there = this.#agents.get(packet.to.join());
        if (packet.atUs > this.nowUs) this.#inFlight.push(packet);
        else there?.checks.receive(packet.data, there.base, packet.from, this.nowUs);
      }
      for (const { checks } of this.#agents.values()) checks.tick(this.nowUs);
    }
  }

  bytesTo(address: Address): number {
    return this.sent.filter(({ to }) => to.join() === address.join()).reduce((sum, { data }) => sum + data.length, 0);
  }
}

/** One agent of ours and the hand-made peer of a test. */
function alone(controlling = false) {
  const network = new Network();
  const base = network.base(['192.0.2.9', 9]);
  let selections = 0;
  const checks = new ConnectivityChecks(controlling, { onSelected: () => (selections += 1) });
  checks.start(CREDENTIALS, controlling);
  network.add(['192.0.2.9', 9], checks, base);
  const request = (from: Address = PEER, more: Partial<Parameters<typeof buildCheck>[1]> = {}) => {
    const data = buildCheck(newTransactionId(), {
      username: 'ours:them',
      password: OURS.localPassword,
      priority: 1,
      controlling: !controlling,
      tieBreaker: 1n,
      useCandidate: false,
      ...more,
    });
    checks.receive(data, base, from, network.nowUs);
    return data.length;
  };
  const messages = (kind: string, to: Address = PEER) =>
    network.sent.filter(
      ({ data, to: [host, port] }) => host === to[0] && port === to[1] && parseStun(data)?.messageClass === kind,
    );
  const answer = (build: (id: Buffer) => Buffer, from: Address = PEER) => {
    const last = messages('request').at(-1);
    if (last === undefined) throw new Error('no check was sent');
    checks.receive(build(last.data.subarray(8, 20)), base, from, network.nowUs);
  };
  const succeed = (id: Buffer) => buildSuccess(id, ['192.0.2.9', 9], THEIRS.remotePassword);
  return { network, base, checks, request, messages, answer, succeed, selections: () => selections };
}

/** Two agents that know each other's credentials; `b` names `a`'s address if asked to. */
function two(roles: { a: boolean; b: boolean }, named = true) {
  const network = new Network();
  const make = (address: Address, controlling: boolean, credentials: Credentials) => {
    const base = network.base(address);
    const checks = new ConnectivityChecks(controlling, { onSelected: () => undefined });
    checks.start(credentials, controlling);
    network.add(address, checks, base);
    return { address, base, checks };
  };
  const a = make(['192.0.2.1', 1], roles.a, CREDENTIALS);
  const b = make(['192.0.2.2', 2], roles.b, {
    localUfrag: 'them',
    localPassword: THEIRS.remotePassword,
    remoteUfrag: 'ours',
    remotePassword: OURS.localPassword,
  });
  const host = (address: Address) => ({ type: 'host', host: address[0], port: address[1], priority: 1 }) as const;
  const name = () => b.checks.addRemote(host(a.address), [b.base], network.nowUs);
  if (named) name();
  return { network, a, b, name };
}

describe('ConnectivityChecks', () => {
  it.each([
    ['one controls', { a: false, b: true }],
    ['both say they control', { a: true, b: true }],
    ['both say they are controlled', { a: false, b: false }],
  ])('find the pair when %s', (_what, roles) => {
    const { network, a, b } = two(roles);
    network.run(3000);
    expect(a.checks.selected?.address).toEqual(b.address);
    expect(b.checks.selected?.address).toEqual(a.address);
    expect(a.checks.selected?.roundTripUs).toBeLessThan(50 * MS);
  });

  it('find the pair although the first packet of each side is lost', () => {
    const { network, a, b } = two({ a: false, b: true });
    const count = new Map<string, number>();
    network.loses = (_data, to) => {
      const lost = count.get(to.join()) ?? 0;
      count.set(to.join(), lost + 1);
      return lost < 1;
    };
    network.run(8000);
    expect(a.checks.selected?.address).toEqual(b.address);
  });

  it('keep consent by asking every 4 to 6 s, and only the peer’s answers refresh it', () => {
    const { network, a } = two({ a: false, b: true });
    network.run(2000);
    network.run(60_000);
    const checksIn60Seconds = network.sent.filter(
      ({ data, to, atUs }) => to[1] === 2 && atUs > 2_000_000 && parseStun(data)?.messageClass === 'request',
    ).length;
    expect(checksIn60Seconds).toBeGreaterThanOrEqual(9);
    expect(checksIn60Seconds).toBeLessThanOrEqual(16);
    expect(network.nowUs - a.checks.consentedAtUs).toBeLessThan(7_000_000);
    const consentedAtUs = a.checks.consentedAtUs;
    network.loses = (data, to) => to[1] === 1 && parseStun(data)?.messageClass === 'success'; // requests still come
    network.run(20_000);
    expect(a.checks.consentedAtUs).toBeLessThanOrEqual(consentedAtUs + 20 * MS);
  });

  it('restart: the old pair stays until the peer nominates with the new credentials', () => {
    const { network, a, b, name } = two({ a: false, b: true });
    network.run(2000);
    const before = a.checks.selected;
    a.checks.start({ ...CREDENTIALS, localUfrag: 'new1', localPassword: 'n'.repeat(24) }, false);
    network.run(1000);
    expect(a.checks.selected).toBe(before);
    const consentedAtUs = a.checks.consentedAtUs;
    network.run(7000); // consent goes on, with the credentials that the peer has answered before
    expect(a.checks.consentedAtUs).toBeGreaterThan(consentedAtUs);
    b.checks.start(
      { localUfrag: 'them', localPassword: THEIRS.remotePassword, remoteUfrag: 'new1', remotePassword: 'n'.repeat(24) },
      true,
    );
    name();
    network.run(2000);
    expect(a.checks.selected?.address).toEqual(b.address);
    expect(a.checks.selected?.nominated).toBe(true);
  });

  it('do not answer requests without this session’s integrity', () => {
    const { network, request, checks } = alone();
    request(PEER, { password: 'x'.repeat(24) });
    request(PEER, { username: 'else:them' });
    expect(network.sent).toEqual([]);
    expect(checks.pairs).toEqual([]);
    expect(checks.counters.refused).toBe(2);
  });

  it('select the pair the peer nominates, follow a change of its mind, and no single nomination of a worse pair', () => {
    const { checks, request, answer, succeed, selections, network } = alone();
    const other: Address = ['192.0.2.1', 4001];
    request(PEER, { useCandidate: true, priority: 100 });
    expect(selections()).toBe(0); // not before our own check has succeeded
    answer(succeed);
    expect(checks.selected?.address).toEqual(PEER);
    network.nowUs += 100 * MS;
    request(other, { priority: 50 });
    const [sent] = network.sent.slice(-1);
    checks.receive(
      succeed(sent?.data.subarray(8, 20) as Buffer),
      checks.pairs[1]?.base as IceBase,
      other,
      network.nowUs,
    );
    request(other, { useCandidate: true, priority: 50 });
    request(PEER, { useCandidate: true, priority: 100 });
    request(other, { useCandidate: true, priority: 50 });
    expect(checks.selected?.address).toEqual(PEER);
    request(other, { useCandidate: true, priority: 50 });
    expect(checks.selected?.address).toEqual(other);
  });

  it('take as an answer only the right transaction, from the right address, with the peer’s integrity', () => {
    const { checks, request, answer, succeed } = alone();
    request();
    answer(() => succeed(newTransactionId()));
    answer(succeed, ['192.0.2.1', 4001]);
    answer((id) => buildSuccess(id, ['192.0.2.9', 9], 'x'.repeat(24)));
    answer((id) => buildSuccess(id, ['192.0.2.9', 9], undefined));
    expect(checks.pairs[0]).toMatchObject({ state: 'checking', validated: false });
    expect(checks.consentedAtUs).toBe(0);
    answer(succeed);
    expect(checks.pairs[0]).toMatchObject({ state: 'succeeded', validated: true });
  });

  describe('bounds on what others can make it send', () => {
    it.each([401, 487, 400])('an error %d ends the pair: no check follows', (code) => {
      const { network, request, answer, messages, checks } = alone();
      request();
      for (let round = 0; round < 100; round += 1) {
        answer((id) => buildError(id, code, THEIRS.remotePassword));
        request();
        network.run(20);
      }
      expect(messages('request').length).toBeLessThanOrEqual(2); // one more when the role had to change
      expect(checks.pairs[0]?.state).toBe('ended');
    });

    it('sends a source that never answers at most three times what came from it', () => {
      const { network, request } = alone();
      const sources = Array.from({ length: 100 }, (_, at): Address => ['198.51.100.7', 1000 + at]);
      const received = sources.map((source) => request(source));
      network.run(30_000);
      sources.forEach((source, at) => {
        expect(network.bytesTo(source) / (received[at] as number)).toBeLessThanOrEqual(3);
      });
    });

    it('keeps at most 16 pairs for any number of sources', () => {
      const { checks, request, network } = alone();
      for (let source = 0; source < 6000; source += 1) request(['198.51.100.7', 1 + source]);
      network.run(100);
      expect(checks.pairs.length).toBe(MAX_PAIRS);
    });

    it('keeps a pair that works when thousands of sources follow', () => {
      const { checks, request, answer, succeed } = alone();
      request(PEER, { useCandidate: true });
      answer(succeed);
      for (let source = 0; source < 100; source += 1) request(['198.51.100.7', 1 + source]);
      expect(checks.selected?.address).toEqual(PEER);
      expect(checks.pairs).toContain(checks.selected);
    });

    it('sends addresses that only a description names one kilobyte, in a session’s life and over restarts', () => {
      const { network, checks, base } = alone();
      const victims = Array.from({ length: 8 }, (_, at) => `198.51.100.${at}`);
      for (let restart = 0; restart < 60; restart += 1) {
        checks.start({ ...CREDENTIALS, remoteUfrag: `${restart}`.padEnd(256, 'U') }, false);
        for (const host of victims)
          checks.addRemote({ type: 'host', host, port: 53, priority: 1 }, [base], network.nowUs);
        network.run(1000);
      }
      const bytes = network.sent.reduce((sum, { data }) => sum + data.length, 0);
      expect(bytes).toBeGreaterThan(0);
      expect(bytes).toBeLessThanOrEqual(1024);
    });

    it('bounds them for an ICE-lite peer as well', () => {
      const { network, checks, base } = alone(true);
      for (let port = 1; port <= 8; port += 1) {
        checks.addRemote({ type: 'host', host: '198.51.100.1', port, priority: 1 }, [base], network.nowUs);
      }
      network.run(30_000);
      expect(network.sent.reduce((sum, { data }) => sum + data.length, 0)).toBeLessThanOrEqual(1024);
    });

    it('restarts give an address that has answered nothing new', () => {
      const { network, checks, request, answer, succeed } = alone();
      const received = request();
      answer(succeed);
      const before = network.bytesTo(PEER);
      for (let restart = 0; restart < 60; restart += 1) {
        checks.start({ ...CREDENTIALS, localUfrag: `gen${restart}` }, false);
        network.run(1000);
      }
      expect(before).toBeLessThan(3 * received);
      expect(network.bytesTo(PEER)).toBe(before);
    });

    it('changes its role at most once', () => {
      const { request, messages, network } = alone();
      for (let round = 0; round < 100; round += 1) {
        request(PEER, { controlling: round % 2 === 0, tieBreaker: round % 4 < 2 ? 0n : 2n ** 64n - 1n });
        network.run(20);
      }
      expect(messages('request').length).toBeLessThan(20);
    });
  });

  it('an ICE-lite peer: checks go to its candidates, the best that answers is nominated', () => {
    const { network, checks, base, answer, succeed } = alone(true);
    checks.addRemote({ type: 'host', host: PEER[0], port: PEER[1], priority: 5 }, [base], network.nowUs);
    network.run(50);
    answer(succeed);
    network.run(20);
    const nomination = network.sent.at(-1);
    expect(parseStun(nomination?.data as Buffer)).toMatchObject({ useCandidate: true, username: 'them:ours' });
    expect(checks.selected).toBeUndefined();
    answer(succeed);
    expect(checks.selected?.address).toEqual(PEER);
  });

  it('a relay lets the candidates of a peer in and sends them nothing', () => {
    const { network, checks } = alone();
    const permitted: string[] = [];
    const relay = { ...network.base(['192.0.2.8', 8], 'relay'), permit: (host: string) => void permitted.push(host) };
    checks.addRemote({ type: 'host', host: '203.0.113.1', port: 1, priority: 1 }, [relay], network.nowUs);
    network.run(1000);
    expect(permitted).toEqual(['203.0.113.1']);
    expect(network.sent).toEqual([]);
  });
});
