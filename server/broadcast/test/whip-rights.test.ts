import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { makeBFrames, type BFrameUnit } from '../../../testing/b-frames.ts';
import { PACKET, World, recordingSink } from './fakes.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A publisher that names its own secret, as WHIP's bearer token. */
async function publishOwn(world: World, resumeToken: string | undefined, sink = recordingSink()) {
  const reply = await world.offer('a', sink, { resumeToken, tokenKind: 'own' });
  world.publishers.at(-1)?.become('connected');
  world.unit();
  return reply;
}

describe('a publisher with its own secret', () => {
  it('replaces its running session with the same secret alone', async () => {
    const world = new World();
    const first = recordingSink();
    await publishOwn(world, 'secret', first);
    await expect(publishOwn(world, 'other')).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
    await expect(publishOwn(world, undefined)).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
    await expect(world.publish('a')).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
    await publishOwn(world, 'secret');
    expect(first.states.at(-1)).toEqual({ state: 'ended', code: 'broadcast.nameTaken' });
    expect(world.publishers[0]?.closed).toBeGreaterThan(0);
    expect(world.pipelines).toHaveLength(1);
  });

  it('finds its name kept after a loss, and the page finds it by the same secret', async () => {
    const world = new World();
    await publishOwn(world, 'secret');
    world.publishers[0]?.become('closed');
    await expect(publishOwn(world, undefined)).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
    await world.publish('a', recordingSink(), 'secret');
    expect(world.pipelines).toHaveLength(1);
  });

  it('may take over from a page with the page’s resume token', async () => {
    const world = new World();
    const { resumeToken } = await world.publish('a');
    await publishOwn(world, resumeToken);
    expect(world.pipelines).toHaveLength(1);
    world.publishers[1]?.become('closed');
    await expect(world.publish('a')).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
  });

  it('without one keeps its name while it is there, and no longer', async () => {
    const world = new World();
    const viewer = await world.watch('a');
    await publishOwn(world, undefined);
    await expect(publishOwn(world, undefined)).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
    world.publishers[0]?.become('closed');
    await vi.advanceTimersByTimeAsync(0);
    await publishOwn(world, undefined);
    expect(world.pipelines).toHaveLength(2);
    expect(viewer.peer.closed).toBe(0);
  });
});

describe('a player that does not wait', () => {
  it('is refused until there is a picture, and nothing is kept of it', async () => {
    const world = new World();
    const refused = { code: 'broadcast.notLive' };
    await expect(world.watch('a', 'H264', recordingSink(), false)).rejects.toMatchObject(refused);
    expect(world.registry.broadcastCount).toBe(0);
    await world.offer('a');
    await expect(world.watch('a', 'H264', recordingSink(), false)).rejects.toMatchObject(refused);
    expect(world.viewers).toHaveLength(0);
    expect(world.registry.viewerPlaces.taken).toBe(0);
    world.publishers[0]?.become('connected');
    world.unit();
    await expect(world.watch('a', 'H264', recordingSink(), false)).resolves.toMatchObject({ state: 'live' });
    world.pass(10);
    await expect(world.watch('a', 'H264', recordingSink(), false)).resolves.toMatchObject({ state: 'paused' });
  });
});

describe('a player of the source alone', () => {
  it('costs no encoder and no vote in the bit rate; the publisher is asked for a keyframe', async () => {
    const world = new World();
    await world.publish('a');
    const { peer } = await world.watch('a', 'source only');
    peer.connect();
    peer.estimateBps = 10_000;
    world.pass(5);
    expect(world.pipelines[0]?.encoders).toEqual([]);
    expect(world.publishers[0]?.keyframeRequests).toBe(1);
  });

  it('is refused when its offer lacks the codec of the source', async () => {
    const world = new World();
    await world.publish('a');
    await expect(world.watch('a', 'source only VP9')).rejects.toMatchObject({
      code: 'sdp.unsupported',
      message: expect.stringContaining('VP8') as string,
    });
    expect(world.registry.viewerPlaces.taken).toBe(0);
  });

  it('is refused while the source has B-frames, and a viewer gets the result alone; another publisher is forwarded again', async () => {
    const world = new World();
    const { resumeToken } = await world.publish('a');
    const { peer, sink } = await world.watch('a', 'H264 source');
    peer.connect();
    const send = ({ data, keyframe, pts }: BFrameUnit) => {
      const at = world.nowUs;
      const listener = world.publishers.at(-1)?.listener;
      listener?.onVideoPacket(PACKET, 'H264');
      const times = { mediaTime: pts, receivedAtUs: at, assembledAtUs: at };
      listener?.onAccessUnit({ codec: 'H264', data, keyframe, ...times });
    };
    const units = makeBFrames({ frames: 7, bFrames: 2 });
    for (const unit of units.slice(0, 2)) send(unit);
    expect(peer.sources.length, 'a keyframe and a P-frame show nothing yet').toBe(2);
    for (const unit of units.slice(2)) send(unit);
    expect(peer.sources.length).toBe(3);
    world.pass(1);
    expect(sink.stats.at(-1)?.source.forwarded).toBe(false);
    await expect(world.watch('a', 'source only')).rejects.toMatchObject({
      code: 'sdp.unsupported',
      message: expect.stringContaining('B-frames') as string,
    });
    await world.publish('a', undefined, resumeToken);
    for (const unit of makeBFrames({ frames: 3, bFrames: 0 })) send(unit);
    expect(peer.sources.length).toBe(6);
    world.pass(1);
    expect(sink.stats.at(-1)?.source.forwarded).toBe(true);
    expect(sink.stats.at(-1)?.source.reorderMs).toBe(0);
  });
});
