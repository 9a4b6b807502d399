import { candidatePriority } from '../../server/rtc/ice/candidates.ts';
import { ConnectivityChecks, MAX_PAIRS } from '../../server/rtc/ice/checks.ts';
import type { IceBase } from '../../server/rtc/ice/pair.ts';
import { buildCheck, buildError, buildSuccess, hasIntegrity, parseStun } from '../../server/rtc/ice/stun.ts';
import type { Address } from '../../server/rtc/udp-socket.ts';
import { check, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

const PASSWORD = 'o'.repeat(24);
const REMOTE_PASSWORD = 't'.repeat(24);

/** Valid messages of every class, to be mutated. */
function message(random: Random): Buffer {
  const id = random.bytes(12);
  const password = random.pick([PASSWORD, REMOTE_PASSWORD]);
  const address: Address = random.pick([
    ['192.0.2.1', 1 + random.int(65535)],
    ['2001:db8::1', 1],
  ]);
  switch (random.int(4)) {
    case 0:
      return buildSuccess(id, address, random.oneIn(3) ? undefined : password);
    case 1:
      return buildError(id, random.pick([400, 401, 487, 500]), random.oneIn(3) ? undefined : password);
    default:
      return buildCheck(id, {
        username: random.pick(['ours:them', 'them:ours', ':', '', 'x'.repeat(300)]),
        password,
        priority: random.int(2 ** 32),
        controlling: random.oneIn(2),
        tieBreaker: BigInt(random.int(2 ** 32)),
        useCandidate: random.oneIn(2),
      });
  }
}

export const STUN_MESSAGES: FuzzTarget = {
  name: 'stun-messages',
  about: 'mutated STUN: a message or undefined, never an exception; a changed message has no integrity',
  open() {
    return (random) => {
      const original = message(random);
      const data = random.mutate(original);
      const parsed = parseStun(data);
      if (parsed === undefined) return;
      for (const password of [PASSWORD, REMOTE_PASSWORD]) {
        if (!hasIntegrity(data, parsed, password)) continue;
        const before = parseStun(original);
        check(before !== undefined && hasIntegrity(original, before, password), 'a mutation made a message authentic');
        check(before.username === parsed.username, 'a mutation changed what the integrity protects');
      }
    };
  },
};

export const ICE_AGENT: FuzzTarget = {
  name: 'ice-agent',
  about:
    'datagrams, answers and restarts in any order: pairs bounded, at most 3 x back to an address that has not answered',
  open() {
    const received = new Map<string, number>();
    const sent = new Map<string, number>();
    const requests: { readonly data: Buffer; readonly to: Address }[] = [];
    const add = (map: Map<string, number>, [host, port]: Address, bytes: number) =>
      map.set(`${host} ${port}`, (map.get(`${host} ${port}`) ?? 0) + bytes);
    const base: IceBase = {
      id: 0,
      type: 'host',
      family: 4,
      priority: candidatePriority('host'),
      send: (data, to) => {
        add(sent, to, data.length);
        if (parseStun(data)?.messageClass !== 'request') return;
        requests.push({ data, to });
        if (requests.length > 64) requests.shift();
      },
    };
    const checks = new ConnectivityChecks(false, { onSelected: () => undefined });
    const credentials = {
      localUfrag: 'ours',
      localPassword: PASSWORD,
      remoteUfrag: 'them',
      remotePassword: REMOTE_PASSWORD,
    };
    const start = (random: Random) => checks.start({ ...credentials }, random.oneIn(4));
    const answered = new Set<string>();
    let nowUs = 0;
    let started = false;
    return (random) => {
      if (!started || random.oneIn(500)) start(random);
      started = true;
      nowUs += random.int(50_000);
      const from: Address = ['192.0.2.1', 1 + random.int(40)];
      const request = random.oneIn(4) ? random.pick(requests) : undefined;
      let data = message(random);
      if (request !== undefined) {
        const id = request.data.subarray(8, 20);
        data = random.oneIn(2)
          ? buildSuccess(id, from, REMOTE_PASSWORD)
          : buildError(id, random.pick([401, 487]), PASSWORD);
      }
      if (random.oneIn(3)) data = random.mutate(data);
      const source = request?.to ?? from;
      if (request !== undefined) answered.add(source.join(' '));
      add(received, source, data.length);
      checks.receive(data, base, source, nowUs);
      checks.tick(nowUs);
      check(checks.pairs.length <= MAX_PAIRS, 'more pairs than allowed');
      for (const [address, bytes] of sent) {
        if (answered.has(address)) continue;
        check(bytes <= 3 * (received.get(address) ?? 0), `${bytes} bytes to ${address}, which has not answered`);
      }
    };
  },
};

export const STUN_TARGETS: readonly FuzzTarget[] = [STUN_MESSAGES, ICE_AGENT];
