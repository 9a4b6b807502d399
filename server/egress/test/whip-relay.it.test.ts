import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RelayDouble } from '../../../testing/relay-double.ts';
import { until } from '../../../testing/until.ts';
import { TargetPolicy } from '../../access/target-policy.ts';
import type { BroadcastStats } from '../../broadcast/statistics.ts';
import { AppError } from '../../errors.ts';
import { traceAt } from '../../media/steps.ts';
import type { EncodedFrame, ResultCodec, SourceCodec } from '../../media/types.ts';
import type {
  ForwardPacket,
  PeerState,
  TargetOptions,
  TargetPeer,
  TargetVideo,
  ViewerListener,
} from '../../rtc/peers.ts';
import { WhipRelay, type WhipRelayOptions } from '../whip-relay.ts';

/** One run against a strict relay's HTTP; the peer is a fake, so that its states are the test's. */

const OFFER = [
  ...['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0', 'm=video 9 UDP/TLS/RTP/SAVPF 96'],
  ...['a=sendonly', 'a=rtcp-mux', 'a=setup:actpass', 'a=fingerprint:sha-256 AA', 'a=ice-ufrag:abcd'],
  ...['a=candidate:1 1 udp 1 127.0.0.1 5000 typ host', 'a=end-of-candidates', ''],
].join('\r\n');

class FakePeer implements TargetPeer {
  readonly id = 'peer';
  readonly state = 'connecting';
  resultCodec: ResultCodec = 'VP8';
  sourceCodecs: readonly SourceCodec[] = [];
  readonly sent: string[] = [];
  asked: TargetVideo | undefined;
  answer: string | undefined;
  refuse: AppError | undefined;
  closed = 0;
  readonly listener: ViewerListener;
  readonly options: TargetOptions;
  constructor(listener: ViewerListener, options: TargetOptions) {
    this.listener = listener;
    this.options = options;
  }
  offer = async (video: TargetVideo): Promise<string> => {
    this.asked = video;
    return OFFER;
  };
  acceptAnswer = async (answer: string): Promise<void> => {
    if (this.refuse !== undefined) throw this.refuse;
    this.answer = answer;
  };
  sendResult = (): void => void this.sent.push('result');
  sendSource = (): void => void this.sent.push('source');
  sendAudio = (): void => void this.sent.push('audio');
  getStats() {
    const counts = {
      bitrateBps: 1000,
      packetsSent: 0,
      fractionLost: 0,
      resentShare: 0,
      nacksReceived: 0,
      keyframeRequestsReceived: 0,
    };
    return { ...counts, deliveredBps: 1, reportedAtUs: 1, roundTripMs: 1, estimateBps: 5_000_000 };
  }
  async close(): Promise<void> {
    this.closed += 1;
  }
}

function frame(keyframe: boolean, codec: ResultCodec = 'VP8'): EncodedFrame {
  const size = { width: 16, height: 16, mediaTime: 0, trace: traceAt(0, 0) };
  return { codec, rendition: 'full', keyframe, data: Buffer.from([0, 0, 0, 1, 0x65, 1]), ...size };
}
const PACKET: ForwardPacket = {
  ...{ stream: 1, payload: Buffer.from([1]), marker: true, sequence: 1 },
  ...{ timestamp: 1, mediaTime: 1, receivedAtUs: 1 },
};

describe('a WHIP relay', () => {
  let relay: RelayDouble;
  let peer: FakePeer | undefined;
  let refuse: AppError | undefined;
  const asked: string[] = [];
  const events: unknown[] = [];
  const logged: unknown[] = [];
  const runs: WhipRelay[] = [];

  beforeEach(async () => {
    peer = undefined;
    refuse = undefined;
    for (const list of [asked, events, logged]) list.length = 0;
    relay = await RelayDouble.start({ take: async () => 'v=0\r\n', bearer: 'secret-7' });
  });
  afterEach(async () => {
    await Promise.all(runs.splice(0).map((run) => run.close()));
    await relay.close();
  });

  function open(changes: Partial<WhipRelayOptions> = {}): WhipRelay {
    peer = undefined;
    const run = new WhipRelay(
      {
        id: 'run',
        name: 'far',
        url: `${relay.url}?key=streamkey`,
        bearer: 'secret-7',
        track: 'result',
        broadcast: {
          outputSize: { width: 1280, height: 720 },
          sourceCodec: 'VP9',
          sourceReordered: false,
          sourcePacketized: true,
        },
        rtc: {
          createTarget: (listener, options) => {
            peer = Object.assign(new FakePeer(listener, options), { refuse });
            return peer;
          },
        },
        policy: new TargetPolicy({ allow: ['127.0.0.1/32'] }),
        interfaceAddresses: ['192.0.2.1'],
        log: { info: (...line: unknown[]) => void logged.push(line) },
        limits: { postGraceMs: 20, deleteFirstMs: 20 },
        ...changes,
      },
      {
        started: () => void asked.push('started'),
        interrupted: () => void asked.push('interrupted'),
        requestKeyframe: (track) => void asked.push(`keyframe ${track}`),
        dropped: () => void asked.push('dropped'),
        ended: () => void asked.push('ended'),
      },
      {
        running: () => void events.push('running'),
        failed: (error, retryAfterMs) => void events.push([error.code, retryAfterMs, error.message]),
      },
    );
    runs.push(run);
    return run;
  }

  async function answered(changes: Partial<WhipRelayOptions> = {}) {
    const run = open(changes);
    await until(() => peer?.answer !== undefined, 'the answer');
    return { run, far: peer as FakePeer };
  }
  const state = (far: FakePeer, next: PeerState, cause?: AppError) => far.listener.onState(next, cause);

  it('offers what the broadcast has, and sends from a keyframe on once the path is there', async () => {
    const { run, far } = await answered();
    expect(far.asked).toEqual({ track: 'result', codecs: ['H264', 'VP8'] });
    expect(far.options.maxOutput).toEqual({ width: 1280, height: 720 });
    expect(far.options.interfaceAddresses, 'a target on this machine').toEqual(['127.0.0.1', '::1']);
    expect(['127.0.0.1', '127.0.0.2', '10.0.0.1', '8.8.8.8'].map(far.options.allowsAddress)).toEqual([
      ...[true, false, false, true],
    ]);
    run.onResult(frame(true));
    run.onAudio(PACKET);
    expect([far.sent, run.renditions, run.report()]).toEqual([[], [], undefined]);
    state(far, 'connected');
    expect([asked, events, run.codec, run.renditions]).toEqual([['started'], ['running'], 'VP8', ['full']]);
    expect(run.report()).toMatchObject({ estimateBps: 5_000_000, voter: 'output far' });
    for (const each of [frame(false), frame(true, 'H264'), frame(true), frame(false)]) run.onResult(each);
    run.onAudio(PACKET);
    run.onSource(PACKET, 'VP8');
    expect(far.sent).toEqual(['result', 'result', 'audio']);
    expect(run.progress).toMatchObject({ frames: 2, bytes: 12, dropped: 0 });
    far.listener.onKeyframeRequest('result');
    state(far, 'disconnected');
    expect([run.renditions, run.report()]).toEqual([[], undefined]);
    state(far, 'connected');
    expect(asked).toEqual(['started', 'keyframe result', 'interrupted', 'started']);
    run.onResult(frame(false));
    expect(far.sent).toHaveLength(3);
    expect(JSON.stringify([run, run.progress, logged])).not.toMatch(/secret|streamkey|\/live/);
  });

  it('deletes its session before it closes the connection, and says nothing after that', async () => {
    const { run, far } = await answered();
    state(far, 'connected');
    const closed: number[] = [];
    relay.script = () => {
      closed.push(far.closed);
      return undefined;
    };
    await Promise.all([run.close(), run.close()]);
    expect([closed, far.closed, relay.sessions.size]).toEqual([[0], 1, 0]);
    state(far, 'closed');
    run.onResult(frame(true));
    expect([events, far.sent]).toEqual([['running'], []]);
  });

  it('does not wait for a target that does not answer the DELETE', async () => {
    const { run, far } = await answered();
    relay.script = () => 'hang';
    const ending = run.close();
    await until(() => far.closed === 1, 'DTLS closed meanwhile');
    await relay.close();
    await ending;
    expect(JSON.stringify(logged)).toMatch(/target.unreachable.*whip.deleteFailed/);
  });

  it('says when the connection is lost, or never there', async () => {
    const { far } = await answered();
    state(far, 'connected');
    state(far, 'closed');
    expect(events.pop()).toEqual(['peer.connection', 0, expect.stringMatching(/ended the connection/)]);
    const never = await answered();
    state(never.far, 'closed');
    expect(events.pop()).toEqual(['peer.connection', 0, expect.stringMatching(/No media path/)]);
    const refused = await answered();
    state(refused.far, 'closed', new AppError('peer.handshake', 'Another certificate.'));
    expect(events.pop()).toEqual(['peer.handshake', 0, 'Another certificate.']);
  });

  it('hands on what the target refuses, with the time of the next try', async () => {
    relay.script = () => ({ status: 503, headers: { 'retry-after': '7' } });
    const run = open();
    await until(() => events.length > 0, 'the refusal');
    expect(events).toEqual([['target.busy', 7000, expect.stringMatching(/503/)]]);
    await run.close();
    expect([peer?.closed, relay.requests.length]).toEqual([1, 1]);
    expect(run.state.kind).toBe('closed');
  });

  it('deletes a session whose SDP is of no use', async () => {
    refuse = new AppError('sdp.unsupported', 'The answer does not take the video.');
    const run = open();
    await until(() => events.length > 0, 'the error');
    expect(events).toEqual([
      ['target.answer', 60_000, expect.stringMatching(/^The SDP of .* does not take the video/)],
    ]);
    await run.close();
    expect(relay.sessions.size).toBe(0);
  });

  it('connects to no address that is not permitted', async () => {
    open({ policy: new TargetPolicy({ allow: [] }) });
    await until(() => events.length > 0, 'the refusal');
    expect(events).toEqual([['target.refused', 60_000, expect.stringMatching(/127\.0\.0\.1/)]]);
    expect([peer, relay.requests]).toEqual([undefined, []]);
  });

  it('ended while the target hangs, it is over soon; answered meanwhile, the session is deleted', async () => {
    relay.script = () => 'hang';
    const hung = open();
    await until(() => relay.requests.length === 1, 'the POST');
    await hung.close();
    const quick = open({ limits: { postGraceMs: 60_000 } });
    let ending: Promise<void> | undefined;
    relay.script = () => {
      ending ??= quick.close();
      return undefined;
    };
    await until(() => relay.requests.length === 3, 'the POST and the DELETE');
    await ending;
    expect(relay.requests.map(({ method }) => method)).toEqual(['POST', 'POST', 'DELETE']);
    expect([relay.sessions.size, peer?.answer, events]).toEqual([0, undefined, []]);
  });

  it('of the source offers its codec, and begins again when that changes', async () => {
    const { run, far } = await answered({ track: 'source' });
    far.sourceCodecs = ['VP9'];
    expect([far.asked, run.wantsSource]).toEqual([{ track: 'source', codecs: ['VP9'] }, true]);
    state(far, 'connected');
    expect([run.renditions, run.report()]).toEqual([[], undefined]);
    run.onResult(frame(true));
    run.onSource(PACKET, 'VP9');
    expect(far.sent).toEqual(['source']);
    expect(run.progress).toMatchObject({ frames: 1, bytes: 1 });
    run.onSource(PACKET, 'VP8');
    run.onSource(PACKET, 'VP8');
    expect(events).toEqual(['running', ['target.rejected', 0, expect.stringMatching(/VP8 now/)]]);
  });

  it('of a source with B-frames says so, before and during', async () => {
    const broadcast = {
      outputSize: { width: 16, height: 16 },
      sourceCodec: 'H264' as const,
      sourceReordered: true,
      sourcePacketized: true,
    };
    open({ track: 'source', broadcast });
    await until(() => events.length > 0, 'the refusal');
    expect(relay.requests).toEqual([]);
    const { run, far } = await answered({ track: 'source' });
    state(far, 'connected');
    run.onStats({ source: { forwarded: true } } as BroadcastStats);
    run.onStats({ source: { forwarded: false } } as BroadcastStats);
    const bFrames = ['target.rejected', 60_000, expect.stringMatching(/B-frames/)];
    expect(events).toEqual([bFrames, 'running', bFrames]);
  });

  it('of a source that has no packets says so, before and during', async () => {
    const broadcast = { outputSize: { width: 16, height: 16 }, sourceCodec: 'AV1' as const, sourceReordered: false };
    open({ track: 'source', broadcast: { ...broadcast, sourcePacketized: false } });
    await until(() => events.length > 0, 'the refusal');
    expect(relay.requests).toEqual([]);
    const later = { ...broadcast, sourcePacketized: true };
    const { run, far } = await answered({ track: 'source', broadcast: later });
    state(far, 'connected');
    const stats = { source: { forwarded: true } } as BroadcastStats;
    run.onStats(stats);
    later.sourcePacketized = false;
    run.onStats(stats);
    const none = ['target.rejected', 60_000, expect.stringMatching(/pulled AV1.*no packets/)];
    expect(events).toEqual([none, 'running', none]);
  });
});
