import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RelayDouble, type RelayReply } from '../../../testing/relay-double.ts';
import { until } from '../../../testing/until.ts';
import { TargetPolicy } from '../../access/target-policy.ts';
import type { Source, SourceSink } from '../../broadcast/source.ts';
import { AppError } from '../../errors.ts';
import type { AccessUnit } from '../../media/types.ts';
import type { ConnectOptions, ForwardPacket, PeerState, PublisherListener, PulledPeer } from '../../rtc/peers.ts';
import { WhepPull, type WhepPullOptions } from '../whep-pull.ts';

/** One connection against a strict server's HTTP; the peer is a fake, so that its states are the test's. */

const OFFER = [
  ...['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0', 'm=video 9 UDP/TLS/RTP/SAVPF 96'],
  ...['a=recvonly', 'a=rtcp-mux', 'a=setup:actpass', 'a=fingerprint:sha-256 AA', 'a=ice-ufrag:abcd'],
  ...['a=candidate:1 1 udp 1 127.0.0.1 5000 typ host', 'a=end-of-candidates', ''],
].join('\r\n');
/** Typed, unlike what it returns. */
const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);
const SDP = { 'content-type': 'application/sdp' };

class FakePeer implements PulledPeer {
  readonly id = 'peer';
  readonly state = 'connecting';
  packetsReceived = 0;
  keyframes = 0;
  answer: string | undefined;
  closed = 0;
  readonly listener: PublisherListener;
  readonly options: ConnectOptions;
  constructor(listener: PublisherListener, options: ConnectOptions) {
    this.listener = listener;
    this.options = options;
  }
  offer = async (): Promise<string> => OFFER;
  acceptAnswer = async (answer: string): Promise<void> => {
    if (!answer.startsWith('v=0')) throw new AppError('sdp.invalid', 'It is no SDP.');
    this.answer = answer;
  };
  requestKeyframe = (): void => void (this.keyframes += 1);
  getStats() {
    const { packetsReceived } = this;
    const rates = { codec: 'VP8', bitrateBps: 1, framesPerSecond: 1, packetsLost: 0, timestampsReplaced: 0 } as const;
    return { ...rates, packetsReceived, nacksSent: 0, keyframeRequestsSent: 0, hasAudio: true };
  }
  async close(): Promise<void> {
    this.closed += 1;
    this.listener.onState('closed');
  }
}

describe('a WHEP source', () => {
  let far: RelayDouble;
  let peer: FakePeer | undefined;
  let nowUs: number;
  let opened: Source[];
  let ended: { readonly code: string; readonly message: string; readonly retryAfterMs: number | undefined }[];
  let logged: unknown[];
  let pulls: WhepPull[];

  beforeEach(async () => {
    [peer, nowUs, opened, ended, logged, pulls] = [undefined, 0, [], [], [], []];
    far = await RelayDouble.start({ take: async () => 'v=0\r\n', bearer: 'secret-7', direction: 'recvonly' });
  });
  afterEach(async () => {
    await Promise.all(pulls.map((pull) => pull.close()));
    await far.close();
  });

  function pull(changes: Partial<WhepPullOptions> = {}): WhepPull {
    const made = new WhepPull(
      {
        ...{ id: 'cam pulled 0', url: `${far.url}?key=streamkey`, bearer: 'secret-7', timeoutMs: 10_000 },
        ...{ clock: undefined, interfaceAddresses: ['192.0.2.1'], nowUs: () => nowUs },
        rtc: { createPulled: (listener, options) => (peer = new FakePeer(listener, options)) },
        policy: new TargetPolicy({ allow: ['127.0.0.1/32'] }),
        log: { info: (...line: unknown[]) => void logged.push(line) },
        ...changes,
      },
      {
        onOpened: (source) => opened.push(source),
        onNotice: () => undefined,
        onEnded: ({ code, message }, retryAfterMs) => ended.push({ code, message, retryAfterMs }),
      },
    );
    pulls.push(made);
    return made;
  }

  async function answered(changes: Partial<WhepPullOptions> = {}) {
    const source = pull(changes);
    await until(() => peer?.answer !== undefined, 'the answer');
    return { source, peer: peer as FakePeer };
  }
  const state = (next: PeerState, cause?: AppError) => peer?.listener.onState(next, cause);

  function started(source: WhepPull) {
    const got: string[] = [];
    const sink: SourceSink = {
      onConnected: () => got.push('connected'),
      onAccessUnit: () => got.push('unit'),
      onVideoPacket: () => got.push('video'),
      onAudioPacket: () => got.push('audio'),
      onDrop: (reason) => got.push(reason),
      onEnded: (reason, error) => got.push(`${reason} ${error.code}`),
    };
    source.start(sink);
    return got;
  }

  it('opens when the path is there, and hands on what its peer brings', async () => {
    const { source, peer: from } = await answered();
    expect(from.options).toMatchObject({ connectWithinMs: 10_000, interfaceAddresses: ['127.0.0.1', '::1'] });
    expect(['127.0.0.1', '10.0.0.1', '8.8.8.8'].map(from.options.allowsAddress)).toEqual([true, false, true]);
    expect(opened).toEqual([]);
    state('connected');
    state('disconnected');
    state('connected');
    expect(opened).toEqual([source]);
    const got = started(source);
    from.listener.onAccessUnit({} as AccessUnit);
    from.listener.onVideoPacket({} as ForwardPacket, 'VP8');
    from.listener.onAudioPacket({} as ForwardPacket);
    from.listener.onDrop('stale', 1);
    expect(got).toEqual(['connected', 'unit', 'video', 'audio', 'stale']);
    source.requestKeyframe();
    expect([from.keyframes, source.getStats()]).toMatchObject([1, { codec: 'VP8', hasAudio: true }]);
    expect(JSON.stringify([source, logged])).not.toMatch(/secret|streamkey|\/live/);
  });

  it.each(['before the path is there', 'while it delivers'])('leaves by DELETE and then DTLS: %s', async (when) => {
    const { source, peer: from } = await answered();
    if (when === 'while it delivers') {
      state('connected');
      started(source);
    }
    expect(far.sessions.size).toBe(1);
    await Promise.all([source.close(), source.close()]);
    expect([far.sessions.size, from.closed]).toEqual([0, 1]);
    expect(far.requests.map(({ method }) => method)).toEqual(['POST', 'DELETE']);
    expect(ended).toMatchObject([{ code: 'target.unreachable', message: 'The source has ended.' }]);
  });

  it('says once that it is lost, to its broadcast too', async () => {
    const { source } = await answered();
    state('connected');
    const got = started(source);
    state('closed');
    state('closed');
    expect(got.pop()).toBe('source lost peer.connection');
    expect(ended).toMatchObject([{ code: 'peer.connection', message: matching(/ended the connection/) }]);
  });

  it('says when no path is found, and why its peer was refused', async () => {
    await answered();
    state('closed');
    expect(ended).toMatchObject([{ code: 'peer.connection', message: matching(/No media path to http/) }]);
    await answered();
    state('closed', new AppError('peer.handshake', 'Another certificate.'));
    expect(ended[1]).toMatchObject({ code: 'peer.handshake', message: 'Another certificate.' });
  });

  it('is given up when nothing comes for its time-out, not while reports come', async () => {
    const { source, peer: from } = await answered();
    state('connected');
    const got = started(source);
    const second = () => {
      nowUs += 1_000_000;
      source.onStats();
    };
    for (let report = 0; report < 20; report += 1) {
      from.packetsReceived += 1;
      second();
    }
    for (let silence = 0; silence < 10; silence += 1) second();
    expect(ended).toEqual([]);
    second();
    expect(ended).toMatchObject([{ code: 'target.unreachable', message: matching(/nothing for 10 s/) }]);
    expect(got.pop()).toBe('source lost target.unreachable');
  });

  it.each<[string, RelayReply | 'drop', string, number]>([
    ['nobody publishes', { status: 409, headers: { 'retry-after': '5' } }, 'target.rejected', 5000],
    ['MediaMTX without the stream', { status: 404 }, 'target.rejected', 0],
    ['no right', { status: 401 }, 'target.rejected', 60_000],
    ['full', { status: 503, headers: { 'retry-after': '7' } }, 'target.busy', 7000],
    ['an offer of its own', { status: 406, headers: SDP, body: 'v=0\r\n' }, 'target.rejected', 60_000],
    ['a page', { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }, 'target.answer', 60_000],
    ['201 without SDP', { status: 201, headers: SDP, body: ' ' }, 'target.answer', 0],
    ['201 of another type', { status: 201, headers: { 'content-type': 'text/html' }, body: 'v=0' }, 'target.answer', 0],
    ['SDP that is none', { status: 201, headers: SDP, body: '<html>' }, 'target.answer', 60_000],
    ['too much', { status: 201, headers: SDP, body: 'v=0\r\n'.padEnd(70_000, '.') }, 'target.answer', 0],
    ['303', { status: 303, headers: { location: '/x' } }, 'target.answer', 0],
    ['a redirect to nowhere', { status: 307 }, 'target.answer', 0],
    ['a circle', { status: 307, headers: { location: '/live/whip?key=streamkey' } }, 'target.answer', 0],
    ['a private address', { status: 307, headers: { location: 'http://10.0.0.1/' } }, 'target.refused', 60_000],
    ['a connection that breaks', 'drop', 'target.unreachable', 0],
  ])('ends and says why: %s', async (_what, reply, code, retryAfterMs) => {
    far.script = ({ method }) => (method === 'POST' ? reply : undefined);
    pull();
    await until(() => ended.length > 0, 'the end');
    expect(ended).toMatchObject([{ code, retryAfterMs }]);
    expect(JSON.stringify([ended, logged])).not.toMatch(/secret|streamkey|\/live/);
  });

  it('does not wait for a server that hangs', async () => {
    far.script = () => 'hang';
    pull({ timeoutMs: 50 });
    await until(() => ended.length > 0, 'the end');
    expect(ended).toMatchObject([{ code: 'target.unreachable', message: matching(/within 0.05 s/) }]);
  });

  it('connects to permitted addresses alone', async () => {
    pull({ policy: new TargetPolicy({ allow: [] }) });
    await until(() => ended.length > 0, 'the end');
    expect([ended[0]?.code, far.requests, peer]).toEqual(['target.refused', [], undefined]);
  });
});
