import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { World, recordingSink } from './fakes.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const flush = async () => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
};
const outcomes = (requests: Promise<unknown>[]) =>
  Promise.all(
    requests.map((request) =>
      request.then(
        () => 'in',
        ({ code }: { code: string }) => code,
      ),
    ),
  );
const running = (world: World) => world.pipelines.filter(({ closed }) => closed === 0).length;

describe('broadcast places', () => {
  it('hold when two come free while ten publishers with pictures want one', async () => {
    const world = new World({ capacity: 2 });
    const first = [await world.publish('a'), await world.publish('b')];
    const ends: (() => void)[] = [];
    for (const pipeline of world.pipelines) pipeline.gone = new Promise((resolve) => ends.push(resolve));
    const leaving = first.map(({ session }) => world.sessions.leave(session, 'request'));
    const sinks = Array.from({ length: 10 }, () => recordingSink());
    await Promise.all(sinks.map((sink, index) => world.offer(`n${index}`, sink)));
    for (let index = 2; index < 12; index += 1) {
      world.publishers[index]?.become('connected');
      world.unit(index);
    }
    expect(running(world)).toBe(0);
    for (const end of ends) end();
    await Promise.all(leaving);
    await flush();
    expect(running(world)).toBe(2);
    await vi.advanceTimersByTimeAsync(6000);
    expect(running(world)).toBe(2);
    expect(sinks.filter(({ states }) => states.at(-1)?.code === 'server.full')).toHaveLength(8);
    expect(world.registry.list().capacity).toEqual({ used: 2, total: 2 });
  });

  it('are not taken by offers that never connect: publish and cut, sixty times', async () => {
    const world = new World({ capacity: 2 });
    for (let round = 0; round < 60; round += 1) {
      const { session } = await world.offer(`p${round}`);
      await world.sessions.leave(session, 'disconnected');
    }
    expect(world.pipelines).toHaveLength(0);
    expect(world.registry.broadcastCount, 'nor are their names kept').toBe(0);
    await world.publish('honest');
    expect(running(world)).toBe(1);
  });

  it('are open to an honest publisher while fake offers of six sockets are renewed without end', async () => {
    const world = new World({ capacity: 2 });
    for (let hog = 0; hog < 6; hog += 1) await world.offer(`hog${hog}`);
    await world.publish('honest');
    expect(world.registry.list().capacity.used).toBe(1);
    world.pass(20);
    expect(world.publishers.filter(({ closed }) => closed > 0)).toHaveLength(6);
    expect(world.registry.broadcastCount).toBe(1);
  });

  it('count from the first picture: a connected publisher without one takes none and is ended after 15 s', async () => {
    const world = new World({ capacity: 1 });
    const mute = recordingSink();
    await world.offer('mute', mute);
    world.publishers[0]?.become('connected');
    await world.publish('second');
    expect(running(world)).toBe(1);
    world.pass(14);
    expect(mute.states.at(-1)?.state).toBe('waiting');
    world.pass(3);
    expect(mute.states.at(-1)).toEqual({ state: 'ended', code: 'publish.noPicture' });
    expect(world.publishers[0]?.closed).toBe(1);
    expect(world.registry.list().broadcasts.map(({ name }) => name)).toEqual(['second']);
  });

  it('and sessions of offers that do not connect are given back within 10 to 15 s', async () => {
    const world = new World();
    const sink = recordingSink();
    await world.offer('slow', sink);
    world.pass(10);
    expect(sink.states.at(-1)?.state).toBe('waiting');
    world.pass(4);
    expect(sink.states.at(-1)).toEqual({ state: 'ended', code: 'peer.connection' });
    expect(world.sessions.size).toBe(0);
  });

  it('end a publisher whose first picture finds none, and keep nothing of it', async () => {
    const world = new World({ capacity: 1 });
    const late = recordingSink();
    await world.offer('late', late);
    await world.publish('first');
    world.publishers[0]?.become('connected');
    world.unit(0);
    await flush();
    expect(late.states.at(-1)).toEqual({ state: 'ended', code: 'server.full' });
    expect(world.registry.list().broadcasts.map(({ name }) => name)).toEqual(['first']);
    expect(await world.metrics.text()).toContain('flashvsr_refused_total{what="broadcast",why="limits"} 1');
  });
});

describe('one address', () => {
  it('has at most maxBroadcastsPerAddress publishers; the oldest without a picture gives way', async () => {
    const world = new World({ argv: ['--limits.maxBroadcastsPerAddress', '3'] });
    const sinks = [recordingSink(), recordingSink(), recordingSink()];
    for (const [index, sink] of sinks.entries()) await world.offer(`n${index}`, sink);
    world.publishers[0]?.become('connected');
    world.unit(0);
    await world.offer('newer');
    expect(sinks.map(({ states }) => states.at(-1)?.code)).toEqual([undefined, 'request.tooMany', undefined]);
    await world.offer('of another', recordingSink(), { address: '10.0.0.1' });
    expect(world.sessions.size).toBe(4);
  });

  it('is refused when all its broadcasts have pictures, and may publish again when one has left', async () => {
    const world = new World({ argv: ['--limits.maxBroadcastsPerAddress', '2'] });
    const { session } = await world.publish('a');
    await world.publish('b');
    await expect(world.offer('c')).rejects.toMatchObject({
      code: 'request.tooMany',
      message: expect.stringContaining('limits.maxBroadcastsPerAddress') as string,
    });
    await world.sessions.leave(session, 'request');
    await world.publish('c');
    expect(await world.metrics.text()).toContain('flashvsr_refused_total{what="broadcast",why="address"} 1');
  });

  it('loses no session to an offer that is refused', async () => {
    const world = new World({ argv: ['--limits.maxBroadcastsPerAddress', '2'] });
    const sinks = [recordingSink(), recordingSink()];
    for (const [index, sink] of sinks.entries()) await world.offer(`n${index}`, sink);
    for (const name of ['bad', 'n0', 'n1']) {
      await expect(world.offer(name, recordingSink(), { sdp: 'bad' })).rejects.toThrow('bad sdp');
    }
    expect(sinks.map(({ states }) => states.at(-1)?.state)).toEqual(['waiting', 'waiting']);
    expect(world.publishers.map(({ closed }) => closed)).toEqual([0, 0, 1, 1, 1]);
  });

  it('cannot fill the server with offers: sessions without a picture are bounded, the busiest address loses first', async () => {
    const world = new World({ capacity: 1, argv: ['--limits.maxBroadcastsPerAddress', '1000'] });
    const honest = recordingSink();
    await world.offer('honest', honest, { address: '10.0.0.1' });
    for (let index = 0; index < 100; index += 1)
      await world.offer(`n${index}`, recordingSink(), { address: '10.0.0.2' });
    expect(world.sessions.size).toBeLessThan(40);
    expect(honest.states.at(-1)?.state).toBe('waiting');
  });

  it('has at most maxViewersPerAddress viewers', async () => {
    const world = new World({ argv: ['--limits.maxViewersPerAddress', '2'] });
    const { session } = await world.watch('a');
    await world.watch('b');
    await expect(world.watch('c')).rejects.toThrow('limits.maxViewersPerAddress');
    await world.sessions.leave(session, 'request');
    await world.watch('c');
  });
});

describe('viewer places', () => {
  it('count watches in progress: of 160 at once, 20 come in', async () => {
    const world = new World({ argv: ['--limits.maxViewers', '20'] });
    const results = await outcomes(Array.from({ length: 160 }, () => world.watch('a')));
    expect(results.filter((result) => result === 'in')).toHaveLength(20);
    expect(world.viewers).toHaveLength(20);
  });

  it('hold for one broadcast, too', async () => {
    const world = new World({ argv: ['--limits.maxViewersPerBroadcast', '5'] });
    const results = await outcomes(Array.from({ length: 30 }, () => world.watch('a')));
    expect(results.filter((result) => result === 'in')).toHaveLength(5);
  });

  it('come back however the viewer ended: by a bad offer, leaving, a lost connection', async () => {
    const world = new World({ argv: ['--limits.maxViewers', '1'] });
    await expect(world.watch('a', 'bad')).rejects.toThrow('bad sdp');
    const { session } = await world.watch('a');
    await world.sessions.leave(session, 'request');
    const { peer } = await world.watch('a');
    peer.become('closed');
    await flush();
    await world.watch('a');
  });
});

it('keeps a name only for a publisher that has sent a picture', async () => {
  const world = new World();
  const { session } = await world.offer('a');
  await world.sessions.leave(session, 'disconnected');
  const again = await world.publish('a');
  await world.sessions.leave(again.session, 'disconnected');
  await expect(world.offer('a')).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
  // Its return keeps the name, even if that connection never sends one.
  const back = await world.offer('a', recordingSink(), { resumeToken: again.resumeToken });
  await world.sessions.leave(back.session, 'disconnected');
  await expect(world.offer('a')).rejects.toMatchObject({ code: 'broadcast.nameTaken' });
});
