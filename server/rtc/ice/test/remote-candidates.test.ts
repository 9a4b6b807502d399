import { networkInterfaces } from 'node:os';
import { describe, expect, it } from 'vitest';
import { candidateLine, candidatePriority, isGlobal, parseCandidate } from '../candidates.ts';
import { MAX_REMOTE_CANDIDATES, RemoteCandidates, visitorPolicy } from '../remote-candidates.ts';

const line = (host: string, port: number, priority = 1) => `candidate:1 1 udp ${priority} ${host} ${port} typ host`;

describe('RemoteCandidates', () => {
  it('take each address once, and eight of them in a session’s life', () => {
    const candidates = new RemoteCandidates(() => true);
    const same = Array.from({ length: 64 }, (_, at) => line('8.8.8.8', 4000, at));
    expect(candidates.addAll(same)).toHaveLength(1);
    const others = Array.from({ length: 64 }, (_, at) => line('8.8.4.4', 5000 + at));
    expect(candidates.addAll(others)).toHaveLength(MAX_REMOTE_CANDIDATES - 1);
    // A restart names the same ones again, and new ones.
    expect(candidates.addAll([...same, ...others])).toHaveLength(MAX_REMOTE_CANDIDATES);
    expect(candidates.add(line('1.1.1.1', 1))).toBeUndefined();
    expect(candidates.all).toHaveLength(MAX_REMOTE_CANDIDATES);
  });

  it.each([
    '127.0.0.1',
    '10.1.2.3',
    '192.168.1.9',
    '172.16.0.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
  ])('of visitors never reach %s from a server that is not a loopback server', (host) => {
    expect(new RemoteCandidates(visitorPolicy([])).add(line(host, 53))).toBeUndefined();
    expect(new RemoteCandidates(visitorPolicy(['192.0.2.1', '127.0.0.1'])).add(line(host, 53))).toBeUndefined();
  });

  it.each(['::1', '::', '::ffff:10.0.0.1', 'fe80::1', 'fd00::1', 'ff02::1', '64:ff9b::a00:1'])(
    'of visitors never reach %s',
    (host) => {
      expect(visitorPolicy([])(host)).toBe(false);
    },
  );

  it('of visitors never reach an address of this machine', () => {
    for (const info of Object.values(networkInterfaces()).flatMap((infos) => infos ?? [])) {
      expect(isGlobal(info.address.split('%')[0] ?? ''), info.address).toBe(false);
    }
  });

  it('of visitors reach global addresses; those of a loopback server its loopback alone', () => {
    expect(visitorPolicy([])('8.8.8.8')).toBe(true);
    expect(visitorPolicy([])('2001:4860:4860::8888')).toBe(true);
    expect(visitorPolicy(['127.0.0.1'])('127.0.0.77')).toBe(true);
    expect(visitorPolicy(['127.0.0.1'])('8.8.8.8')).toBe(false);
  });
});

describe('parseCandidate', () => {
  it.each([
    'candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active',
    'candidate:1 2 udp 1 192.0.2.1 9 typ host',
    'candidate:1 1 udp 1 name.local 9 typ host',
    'candidate:1 1 udp 1 192.0.2.1 0 typ host',
    'candidate:1 1 udp 1 192.0.2.1 65536 typ host',
    'candidate:1 1 udp 99999999999 192.0.2.1 9 typ host',
    '',
    `candidate:${'1'.repeat(100_000)} 1 udp 1 192.0.2.1 9 typ host`,
  ])('refuses %s', (text) => {
    expect(parseCandidate(text)).toBeUndefined();
  });

  it('reads what candidateLine() writes', () => {
    const candidate = { type: 'srflx', host: '192.0.2.1', port: 4321, priority: candidatePriority('srflx') } as const;
    expect(parseCandidate(candidateLine(candidate))).toEqual(candidate);
    const related = candidateLine({ ...candidate, related: { host: '10.0.0.1', port: 9 } });
    expect(related).toMatch(/typ srflx raddr 10\.0\.0\.1 rport 9$/);
    expect(candidatePriority('host')).toBe(2_130_706_431); // RFC 8445 section 5.1.2.1, by hand
  });
});
