import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { World, recordingSink } from './fakes.ts';

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
});
