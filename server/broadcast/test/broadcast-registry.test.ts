import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '../../errors.ts';
import { PACKET, INFO, World, recordingSink } from './fakes.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a name', () => {
  it('belongs to its first publisher’s resume token', async () => {
    const world = new World();
    const first = recordingSink();
    const { resumeToken } = await world.publish('a', first);
    await expect(world.publish('a')).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
    await expect(world.publish('a', recordingSink(), 'wrong')).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
    await world.publish('a', recordingSink(), resumeToken);
    expect(first.states.at(-1)).toEqual({ state: 'ended', code: 'broadcast.nameTaken' });
    expect(world.publishers[0]?.closed).toBeGreaterThan(0);
    // One pipeline goes on for both connections.
    expect(world.pipelines).toHaveLength(1);
    expect(world.pipelines[0]?.resets).toBe(1);
  });

  it('is kept for resumeSeconds after the connection was lost, then free', async () => {
    const world = new World({ argv: ['--broadcast.resumeSeconds', '60'] });
    const { session } = await world.publish('a');
    await world.sessions.leave(session, 'disconnected');
    world.pass(59);
    await expect(world.publish('a')).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
    expect(world.pipelines[0]?.closed).toBe(0);
    world.pass(2);
    expect(world.pipelines[0]?.closed).toBe(1);
    await world.publish('a');
  });

  it('has the token again that its publisher brings in the server’s own form, and never one that could be guessed', async () => {
    const world = new World();
    const { session, resumeToken } = await world.publish('a');
    await world.sessions.leave(session, 'request');
    const again = await world.publish('a', recordingSink(), resumeToken);
    expect(again.resumeToken).toBe(resumeToken);
    const weak = await world.publish('b', recordingSink(), 'secret');
    expect(weak.resumeToken).toMatch(/^[\w-]{32}$/);
    await expect(world.publish('b', recordingSink(), 'secret')).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
  });

  it('is free at once after the publisher left on purpose', async () => {
    const world = new World();
    const { session } = await world.publish('a');
    await world.sessions.leave(session, 'request');
    expect(world.pipelines[0]?.closed).toBe(1);
    await world.publish('a');
    expect(world.pipelines).toHaveLength(2);
  });

  it('stays with the running publisher when a takeover’s offer is bad', async () => {
    const world = new World();
    const sink = recordingSink();
    const { resumeToken } = await world.publish('a', sink);
    world.unit();
    await expect(world.publish('a', recordingSink(), resumeToken, 'bad')).rejects.toThrow('bad sdp');
    world.pass(1);
    expect(sink.states.at(-1)?.state).toBe('live');
    expect(world.publishers[1]?.closed).toBe(1);
  });
});

describe('admission', () => {
  it('refuses a broadcast beyond capacity with numbers, and takes it when another has ended', async () => {
    const world = new World({ capacity: 1 });
    const { session } = await world.publish('a');
    await expect(world.publish('b')).rejects.toMatchObject({
      code: 'server.full',
      message: expect.stringContaining('1 broadcasts') as string,
    });
    expect(world.registry.broadcastCount).toBe(1);
    await world.sessions.leave(session, 'request');
    await world.publish('b');
  });

  it('gives the place of a publisher that is away to one that is there; the name stays reserved', async () => {
    const world = new World({ capacity: 1 });
    const { session, resumeToken } = await world.publish('a');
    await world.sessions.leave(session, 'disconnected');
    await world.publish('b');
    expect(world.pipelines[0]?.closed).toBe(1);
    await expect(world.publish('a')).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
    await expect(world.publish('a', recordingSink(), resumeToken)).rejects.toMatchObject({ code: 'server.full' });
  });

  it('limits viewers per broadcast and in all', async () => {
    const world = new World({ argv: ['--limits.maxViewers', '3', '--limits.maxViewersPerBroadcast', '2'] });
    await world.watch('a');
    await world.watch('a');
    await expect(world.watch('a')).rejects.toThrow('limits.maxViewersPerBroadcast');
    await world.watch('b');
    await expect(world.watch('c')).rejects.toThrow('limits.maxViewers)');
  });

  it('refuses publishers and viewers while draining', async () => {
    const world = new World();
    world.registry.drain();
    await expect(world.publish('a')).rejects.toMatchObject({ code: 'server.draining', retryable: true });
    await expect(world.watch('a')).rejects.toMatchObject({ code: 'server.draining' });
  });
});

describe('states', () => {
  it('goes waiting -> live -> paused -> live -> waiting, for publisher and viewers alike', async () => {
    const world = new World();
    const viewer = await world.watch('a');
    expect(viewer.state).toBe('waiting');
    const sink = recordingSink();
    const { session } = await world.publish('a', sink);
    world.unit();
    world.pass(5);
    world.unit();
    await world.sessions.leave(session, 'disconnected');
    expect(sink.states.map(({ state }) => state)).toEqual(['waiting', 'live', 'paused', 'live']);
    expect(viewer.sink.states.map(({ state }) => state)).toEqual(['live', 'paused', 'live', 'waiting']);
  });

  it('forgets a broadcast without publisher, viewer or hold', async () => {
    const world = new World();
    const viewer = await world.watch('a');
    expect(world.registry.broadcastCount).toBe(1);
    await world.sessions.leave(viewer.session, 'request');
    expect(world.registry.broadcastCount).toBe(0);
    await expect(world.watch('b', 'bad')).rejects.toThrow('bad sdp');
    expect(world.registry.broadcastCount).toBe(0);
    expect(world.viewers.every(({ closed }) => closed === 1)).toBe(true);
  });

  it('informs both sides when the pipeline fails for good, and frees the slot', async () => {
    const world = new World({ capacity: 1 });
    const sink = recordingSink();
    await world.publish('a', sink);
    world.pipelines[0]?.listener.onError(new AppError('media.unsupported', 'too large'));
    expect(sink.states.at(-1)).toEqual({ state: 'ended', code: 'media.unsupported' });
    await world.publish('b');
  });
});

it('the loss of an engine is reported to the process, other errors are not', async () => {
  const world = new World();
  const sink = recordingSink();
  await world.publish('a', sink);
  world.pipelines[0]?.listener.onError(new AppError('media.decode', 'one bad frame'));
  expect(world.engineFailures).toEqual([]);
  world.pipelines[0]?.listener.onError(new AppError('engine.failed', 'the device is gone'));
  expect(world.engineFailures).toEqual(['engine.failed']);
  expect(sink.states.at(-1)).toEqual({ state: 'ended', code: 'engine.failed' });
});

describe('viewers', () => {
  it('wait for a keyframe, and the encoder is asked for one as soon as they are connected', async () => {
    const world = new World();
    await world.publish('a');
    const { peer } = await world.watch('a');
    expect(world.pipelines[0]?.encoders).toEqual([]);
    peer.connect();
    expect(world.pipelines[0]?.encoders).toMatchObject([{ codec: 'H264', rendition: 'full' }]);
    expect(world.pipelines[0]?.keyframes).toEqual(['H264 full']);
    world.frame('H264', 'full', false);
    expect(peer.results).toHaveLength(0);
    world.frame('H264', 'full', true);
    world.frame('H264', 'full', false);
    expect(peer.results).toHaveLength(2);
  });

  it('that join together share one keyframe request', async () => {
    const world = new World();
    await world.publish('a');
    for (let count = 0; count < 5; count += 1) (await world.watch('a')).peer.connect();
    expect(world.pipelines[0]?.keyframes).toEqual(['H264 full']);
    world.pass(1);
    expect(world.pipelines[0]?.keyframes).toHaveLength(2);
  });

  it('of two codecs cost one encoder each, however many they are', async () => {
    const world = new World();
    await world.publish('a');
    for (const offer of ['VP8', 'H264', 'H264', 'VP8', 'H264']) (await world.watch('a', offer)).peer.connect();
    expect(world.pipelines[0]?.encoders.map(({ codec }) => codec)).toEqual(['H264', 'VP8']);
    world.frame('VP8', 'full', true);
    expect(world.viewers.map(({ results }) => results.length)).toEqual([1, 0, 0, 1, 0]);
  });

  it('on a thin link move to the low rendition without a gap; the others stay', async () => {
    const world = new World();
    await world.publish('a');
    const viewers = [await world.watch('a'), await world.watch('a'), await world.watch('a')];
    for (const { peer } of viewers) peer.connect();
    world.frame('H264', 'full', true);
    const thin = viewers[2]?.peer;
    viewers.forEach(({ peer }, index) => (peer.estimateBps = index === 2 ? 350_000 : 4_000_000));
    world.pass(8);
    const renditions = (): string[] => world.pipelines[0]?.encoders.map(({ rendition }) => rendition) ?? [];
    expect(renditions()).toEqual(['full', 'low']);
    // Until the low keyframe arrives it goes on with the full rendition.
    world.frame('H264', 'full', false);
    world.frame('H264', 'low', true);
    world.frame('H264', 'full', false);
    world.frame('H264', 'low', false);
    expect(thin?.results.map(({ rendition }) => rendition)).toEqual(['full', 'full', 'low', 'low']);
    expect(viewers[0]?.peer.results.every(({ rendition }) => rendition === 'full')).toBe(true);
  });

  it('ask for exactly one keyframe a join, the source’s too', async () => {
    const world = new World();
    await world.publish('a');
    const { peer } = await world.watch('a', 'H264 source');
    peer.connect();
    world.pass(2);
    expect(world.pipelines[0]?.keyframes).toEqual(['H264 full']);
    expect(world.publishers[0]?.keyframeRequests).toBe(1);
  });

  it('that ask for keyframes without end get what their budget allows, for the source, too; others still get theirs', async () => {
    const world = new World();
    await world.publish('a');
    const { peer } = await world.watch('a', 'H264 source');
    peer.connect();
    for (let tenth = 0; tenth < 300; tenth += 1) {
      world.nowUs += 100_000;
      peer.listener.onKeyframeRequest('result');
      peer.listener.onKeyframeRequest('source');
      if (tenth % 10 === 9) world.registry.tick();
    }
    // 30 s: three at once and one every three seconds, where two a second passed before.
    expect(world.pipelines[0]?.keyframes.length).toBeLessThanOrEqual(14);
    expect(world.publishers[0]?.keyframeRequests).toBeLessThanOrEqual(14);
    expect(await world.metrics.text()).toMatch(/flashvsr_refused_total\{what="keyframe-request",why="budget"\} \d+/);
    const before = world.pipelines[0]?.keyframes.length ?? NaN;
    const honest = await world.watch('a');
    honest.peer.connect();
    world.pass(1);
    expect(world.pipelines[0]?.keyframes.length).toBeGreaterThan(before);
  });

  it('whose connection is interrupted cost no encoder and have no say in the bit rate; back again they wait for a keyframe', async () => {
    const world = new World();
    await world.publish('a');
    const [gone, good] = [await world.watch('a', 'VP8'), await world.watch('a', 'H264')];
    for (const { peer } of [gone, good]) peer.connect();
    world.frame('VP8', 'full', true);
    world.frame('H264', 'full', true);
    // Two viewers: the slower one's estimate counts.
    gone.peer.estimateBps = 3_600_000;
    good.peer.estimateBps = 5_000_000;
    world.pass(6);
    const bitrates = () => world.pipelines[0]?.encoders.map(({ codec, bitrateBps }) => [codec, bitrateBps]);
    expect(bitrates()).toEqual([
      ['H264', 3_060_000],
      ['VP8', 3_060_000],
    ]);
    gone.peer.become('disconnected');
    expect(world.pipelines[0]?.encoders.map(({ codec }) => codec)).toEqual(['H264']);
    world.pass(1);
    expect(bitrates()).toEqual([['H264', 4_250_000]]);
    const before = world.pipelines[0]?.keyframes.length ?? NaN;
    world.frame('VP8', 'full', true);
    expect(gone.peer.results).toHaveLength(1);
    world.publishers[0]?.listener.onAudioPacket({ ...PACKET, receivedAtUs: world.nowUs });
    expect(gone.peer.audio).toHaveLength(0);
    expect(good.peer.audio).toHaveLength(1);

    gone.peer.become('connected');
    expect(world.pipelines[0]?.encoders.map(({ codec }) => codec)).toEqual(['H264', 'VP8']);
    expect(world.pipelines[0]?.keyframes.slice(before)).toEqual(['VP8 full']);
    world.frame('VP8', 'full', false);
    expect(gone.peer.results).toHaveLength(1);
    world.frame('VP8', 'full', true);
    world.frame('VP8', 'full', false);
    expect(gone.peer.results.map(({ keyframe }) => keyframe)).toEqual([true, true, false]);
  });

  it('of the source make the publisher send a keyframe and get its packets untouched', async () => {
    const world = new World();
    await world.publish('a');
    const { peer } = await world.watch('a', 'H264 source');
    peer.connect();
    expect(world.publishers[0]?.keyframeRequests).toBe(1);
    world.publishers[0]?.listener.onVideoPacket(PACKET, 'VP8');
    expect(peer.sources).toEqual([PACKET]);
  });

  it('start again at a keyframe after the pipeline crashed', async () => {
    const world = new World();
    await world.publish('a');
    const { peer } = await world.watch('a');
    peer.connect();
    world.frame('H264', 'full', true);
    world.pipelines[0]?.listener.onError(new AppError('pipeline.crashed', 'worker died'));
    world.frame('H264', 'full', false);
    world.frame('H264', 'full', true);
    expect(peer.results.map(({ keyframe }) => keyframe)).toEqual([true, true]);
  });

  it('hear the audio one presentation delay later', async () => {
    const world = new World({ argv: ['--media.audioDelayMs', '200'] });
    await world.publish('a');
    const { peer } = await world.watch('a');
    peer.connect();
    const packet = {
      stream: 1,
      payload: new Uint8Array(3),
      marker: true,
      sequence: 1,
      timestamp: 2,
      mediaTime: 2,
      receivedAtUs: world.nowUs,
    };
    world.publishers[0]?.listener.onAudioPacket(packet);
    world.nowUs += 199_000;
    vi.advanceTimersByTime(199);
    expect(peer.audio).toHaveLength(0);
    world.nowUs += 1_000;
    vi.advanceTimersByTime(1);
    expect(peer.audio).toEqual([packet]);
    // A viewer that throws harms no other: the timer goes on, the next packet comes.
    const broken = await world.watch('a');
    broken.peer.connect();
    broken.peer.sendAudio = () => {
      throw new Error('broken socket');
    };
    for (const sequence of [2, 3]) {
      world.publishers[0]?.listener.onAudioPacket({ ...packet, sequence, receivedAtUs: world.nowUs });
      world.nowUs += 200_000;
      expect(() => vi.advanceTimersByTime(200)).not.toThrow();
    }
    expect(peer.audio).toHaveLength(3);
  });
});

describe('statistics', () => {
  it('go to publisher and viewers once a second and hold what was measured', async () => {
    const world = new World();
    const sink = recordingSink();
    await world.publish('a', sink);
    world.pipelines[0]?.listener.onReady(INFO);
    world.pipelines[0]?.listener.onFormat({
      sourceWidth: 320,
      sourceHeight: 180,
      outputWidth: 1280,
      outputHeight: 720,
    });
    const viewer = await world.watch('a');
    viewer.peer.connect();
    world.frame('H264', 'full', true);
    world.pass(1);
    expect(sink.stats.at(-1)).toMatchObject({
      source: { width: 320, codec: 'VP8' },
      output: { width: 1280, framesPerSecond: 1, bitrateBps: 800, codec: 'H264' },
      model: { label: 'Lanczos resize', superResolution: false, rungLabel: 'lanczos' },
      viewers: 1,
    });
    expect(viewer.sink.stats).toHaveLength(1);
    expect(await world.metrics.text()).toContain('flashvsr_frames_total{stage="sent"} 1');
  });

  it('list what is live with sizes and capacity, not names that viewers merely wait for', async () => {
    const world = new World({ capacity: 3 });
    await world.watch('not-published');
    await world.publish('a');
    world.unit();
    world.pipelines[0]?.listener.onFormat({
      sourceWidth: 320,
      sourceHeight: 180,
      outputWidth: 1280,
      outputHeight: 720,
    });
    expect(world.registry.list()).toMatchObject({
      broadcasts: [{ name: 'a', state: 'live', outputWidth: 1280 }],
      capacity: { used: 1, total: 3 },
    });
  });
});

it('a defect in one broadcast’s second is counted, and the others get theirs', async () => {
  const world = new World();
  await world.publish('a');
  const sink = recordingSink();
  await world.publish('b', sink);
  const [defective] = world.publishers;
  if (defective !== undefined) {
    defective.getStats = () => {
      throw new TypeError('no statistics');
    };
  }
  world.pass(2);
  expect(sink.stats).toHaveLength(2);
  expect(await world.metrics.text()).toMatch(/errors_total\{code="internal"\} 2/);
});

it('close() ends every session once and leaves no timer', async () => {
  const world = new World();
  const sink = recordingSink();
  await world.publish('a', sink);
  const viewer = await world.watch('a');
  await world.registry.close();
  await world.registry.close();
  expect(sink.states.at(-1)).toEqual({ state: 'ended', code: 'server.draining' });
  expect(viewer.sink.states.at(-1)).toEqual({ state: 'ended', code: 'server.draining' });
  expect([world.publishers[0]?.closed, world.viewers[0]?.closed, world.pipelines[0]?.closed]).toEqual([1, 1, 1]);
  expect(vi.getTimerCount()).toBe(0);
});
