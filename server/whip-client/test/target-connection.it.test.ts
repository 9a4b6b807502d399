import { afterEach, beforeEach, expect, it } from 'vitest';
import { RelayDouble } from '../../../testing/relay-double.ts';
import { until } from '../../../testing/until.ts';
import { TargetPolicy } from '../../access/target-policy.ts';
import { AppError } from '../../errors.ts';
import { TargetConnection, type PeerNetwork } from '../target-connection.ts';

/** One session at a strict relay; the peer is a fake. */

const OFFER = [
  ...['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0', 'm=video 9 UDP/TLS/RTP/SAVPF 96'],
  ...['a=recvonly', 'a=rtcp-mux', 'a=setup:actpass', 'a=fingerprint:sha-256 AA', 'a=ice-ufrag:abcd', 'a=mid:0'],
  ...['a=candidate:1 1 udp 1 127.0.0.1 5000 typ host', 'a=end-of-candidates', ''],
].join('\r\n');

let relay: RelayDouble;
let steps: string[];
let failed: string[];
let connections: TargetConnection[];

beforeEach(async () => {
  [steps, failed, connections] = [[], [], []];
  relay = await RelayDouble.start({ take: async () => 'v=0\r\n', direction: 'recvonly' });
});
afterEach(async () => {
  await Promise.all(connections.map((connection) => connection.close()));
  await relay.close();
});

function open(): TargetConnection {
  const connection = new TargetConnection({
    ...{ url: relay.url, purpose: 'play', bearer: undefined, interfaceAddresses: ['192.0.2.1'] },
    policy: new TargetPolicy({ allow: ['127.0.0.1/32'] }),
    onFailed: (what, { code }) => failed.push(`${what} ${code}`),
    limits: { postGraceMs: 60_000, deleteFirstMs: 60_000 },
  });
  connections.push(connection);
  return connection;
}

const peer = (accept: () => void = () => undefined) => ({
  offer: async () => OFFER,
  acceptAnswer: async () => {
    steps.push('answer');
    accept();
  },
  close: async () => void steps.push('closed'),
});
const patches = () => relay.requests.filter(({ method }) => method === 'PATCH').map(({ body }) => candidatesOf(body));
const candidatesOf = (body: string) => [...body.matchAll(/^a=(candidate:\S+)/gm)].map(([, name]) => name).join();

it('patches candidates that were found before the session was there, and those that come later', async () => {
  relay.script = ({ method }) => (method === 'PATCH' ? { status: 204 } : undefined);
  const connection = open();
  const networks: PeerNetwork[] = [];
  await connection.connect((network) => {
    networks.push(network);
    connection.addCandidate('candidate:7');
    connection.addCandidate('candidate:8');
    return peer();
  });
  await until(() => patches().length === 1, 'the first PATCH');
  connection.addCandidate('candidate:9');
  await until(() => patches().length === 2, 'the second PATCH');
  expect(patches()).toEqual(['candidate:7,candidate:8', 'candidate:9']);
  const [network] = networks;
  expect(network?.interfaceAddresses, 'a target on this machine').toEqual(['127.0.0.1', '::1']);
  expect(['127.0.0.1', '10.0.0.1'].map((address) => network?.allowsAddress(address))).toEqual([true, false]);
  await connection.close();
  connection.addCandidate('candidate:10');
  expect([patches().length, relay.sessions.size, steps, failed]).toEqual([2, 0, ['answer', 'closed'], []]);
});

it('goes on without a target that takes no PATCH, and asks it once', async () => {
  relay.script = ({ method }) => (method === 'PATCH' ? { status: 405 } : undefined);
  const connection = open();
  await connection.connect(() => peer());
  connection.addCandidate('candidate:7');
  await until(() => failed.length === 1, 'the refusal');
  connection.addCandidate('candidate:8');
  await connection.close();
  expect([patches(), failed, relay.sessions.size]).toEqual([['candidate:7'], ['trickle target.rejected'], 0]);
});

it('leaves the session when its answer is of no use', async () => {
  const connection = open();
  const refuse = () => {
    throw new AppError('sdp.unsupported', 'No video.', { remedy: 'Look.' });
  };
  await expect(connection.connect(() => peer(refuse))).rejects.toMatchObject({
    ...{ retryAfterMs: 60_000, error: { code: 'target.answer', remedy: 'Look.' } },
  });
  expect(relay.sessions.size).toBe(1);
  await connection.close();
  expect([relay.sessions.size, steps]).toEqual([0, ['answer', 'closed']]);
});

it('closed before the answer, deletes what the POST makes all the same', async () => {
  let answer: (sdp: string) => void = () => undefined;
  const take = () => new Promise<string>((resolve) => (answer = resolve));
  await relay.close();
  relay = await RelayDouble.start({ take, direction: 'recvonly' });
  const connection = open();
  const connecting = connection.connect(() => peer());
  await until(() => relay.requests.length === 1, 'the POST');
  const closing = connection.close();
  answer('v=0\r\n');
  await Promise.all([connecting, closing]);
  expect([relay.sessions.size, steps]).toEqual([0, ['closed']]);
});

it('closed before the POST, makes none', async () => {
  const connection = open();
  const connecting = connection.connect(() => peer());
  await Promise.all([connection.close(), connecting]);
  expect([relay.requests, steps]).toEqual([[], []]);
});
