import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '../../errors.ts';
import { endAt } from '../session-end.ts';
import { World, recordingSink } from './fakes.ts';

/** Sessions that the server ends: at their token's end, and by an operator. */
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function publishUntil(world: World, endsAtMs: number | undefined, holder?: string) {
  const sink = recordingSink();
  const request = { name: 'a', sdp: 'offer', resumeToken: 'own', tokenKind: 'own', remoteAddress: '::1' } as const;
  await world.sessions.publish({ ...request, endsAtMs, holder }, sink);
  world.publishers.at(-1)?.become('connected');
  world.unit();
  return sink;
}

describe('the end of a token', () => {
  it('ends its publisher, whose name is free, and its viewers, and nobody else', async () => {
    const world = new World();
    const sink = await publishUntil(world, Date.now() + 5000);
    const request = { name: 'a', sdp: 'H264', tracks: 'page', waits: true, remoteAddress: '::1' } as const;
    const [limited, free] = [recordingSink(), recordingSink()];
    await world.sessions.watch({ ...request, endsAtMs: Date.now() + 3000 }, limited);
    await world.sessions.watch(request, free);
    expect(world.sessions.size).toBe(3);

    await vi.advanceTimersByTimeAsync(2999);
    expect(world.sessions.size).toBe(3);
    await vi.advanceTimersByTimeAsync(1);
    expect(limited.states.at(-1)).toEqual({ state: 'ended', code: 'access.expired' });
    expect(world.sessions.size).toBe(2);

    await vi.advanceTimersByTimeAsync(2000);
    expect(sink.states.at(-1)).toEqual({ state: 'ended', code: 'access.expired' });
    expect(world.sessions.size).toBe(1);
    expect(free.states.at(-1)?.state).not.toBe('ended');
    await world.publish('a');
  });

  it('that has left already ends nothing of those that came after it', async () => {
    const world = new World();
    await publishUntil(world, Date.now() + 1000);
    world.publishers[0]?.become('closed');
    const second = await publishUntil(world, undefined);
    await vi.advanceTimersByTimeAsync(5000);
    expect(second.states.at(-1)?.state).not.toBe('ended');
    expect(vi.getTimerCount()).toBeLessThan(5);
  });

  it('in a year is waited for in steps that a timer takes', async () => {
    const end = vi.fn();
    const year = 366 * 86_400_000;
    endAt(Date.now() + year, end);
    await vi.advanceTimersByTimeAsync(year - 1);
    expect(end).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(end).toHaveBeenCalledOnce();
  });
});

describe('kick', () => {
  it('ends the publisher with the error and frees the name; what was shown is known before', async () => {
    const world = new World();
    const sink = await publishUntil(world, undefined, 'digest');
    const order: string[] = [];
    const kicked = world.sessions.kick('a', new AppError('access.kicked', 'gone'), (holder) => {
      order.push(`holder ${holder ?? ''}, ${sink.states.at(-1)?.state ?? ''}`);
    });
    expect(await kicked).toBe(true);
    expect(order).toEqual(['holder digest, live']);
    expect(sink.states.at(-1)).toEqual({ state: 'ended', code: 'access.kicked' });
    await world.publish('a');
  });

  it('refuses who is on the way to the name, or has the credential, and not others', async () => {
    const world = new World();
    await publishUntil(world, undefined, 'digest');
    const request = { sdp: 'offer', resumeToken: 'own', tokenKind: 'own', remoteAddress: '::1' } as const;
    // Their answers are made while the operator decides.
    const arriving = Promise.allSettled([
      world.sessions.publish({ ...request, name: 'a', holder: 'digest' }, recordingSink()),
      world.sessions.publish({ ...request, name: 'b', holder: 'digest' }, recordingSink()),
      world.sessions.publish({ ...request, name: 'c', holder: 'other' }, recordingSink()),
    ]);
    expect(await world.sessions.kick('a', new AppError('access.kicked', 'gone'), () => {})).toBe(true);
    const kicked = { status: 'rejected', reason: expect.objectContaining({ code: 'access.kicked' }) as unknown };
    expect(await arriving).toMatchObject([kicked, kicked, { status: 'fulfilled' }]);
    expect(world.sessions.size).toBe(1);
    await world.publish('a');
  });

  it('finds a publisher that is only on the way', async () => {
    const world = new World();
    const request = { sdp: 'offer', resumeToken: 'own', tokenKind: 'own', remoteAddress: '::1' } as const;
    const arriving = Promise.allSettled([
      world.sessions.publish({ ...request, name: 'a', holder: 'digest' }, recordingSink()),
    ]);
    const onFound = vi.fn();
    expect(await world.sessions.kick('a', new AppError('access.kicked', 'gone'), onFound)).toBe(true);
    expect(onFound.mock.calls).toEqual([['digest']]);
    expect(await arriving).toMatchObject([{ status: 'rejected' }]);
    expect(world.sessions.size).toBe(0);
  });

  it('finds nobody where nobody publishes', async () => {
    const world = new World();
    await world.watch('a');
    const onFound = vi.fn();
    expect(await world.sessions.kick('a', new AppError('access.kicked', 'gone'), onFound)).toBe(false);
    expect(onFound).not.toHaveBeenCalled();
  });
});

describe('a right that is taken back', () => {
  it('ends the sessions that had it, also those on the way, and the publisher watching itself with its own', async () => {
    const world = new World();
    const publisher = await publishUntil(world, undefined, 'publisher');
    const request = { name: 'a', sdp: 'H264', tracks: 'page', waits: true, remoteAddress: '::1' } as const;
    const [lost, kept, own, open, late] = [1, 2, 3, 4, 5].map(() => recordingSink());
    if (!lost || !kept || !own || !open || !late) throw new Error('no sinks');
    await world.sessions.watch({ ...request, holder: 'removed' }, lost);
    await world.sessions.watch({ ...request, holder: 'other' }, kept);
    await world.sessions.watch({ ...request, holder: 'publisher', own: true }, own);
    await world.sessions.watch(request, open);
    const arriving = Promise.allSettled([world.sessions.watch({ ...request, holder: 'removed' }, late)]);
    const error = new AppError('access.removed', 'gone');
    const asked: string[] = [];
    const ended = await world.sessions.endLost((holder, action, name) => {
      asked.push(`${holder} ${action} ${name}`);
      return holder === 'removed';
    }, error);
    expect(ended).toBe(1);
    expect(asked.sort()).toEqual([
      'other watch a',
      'publisher publish a',
      'publisher publish a',
      'removed watch a',
      'removed watch a',
    ]);
    expect(lost.states.at(-1)).toEqual({ state: 'ended', code: 'access.removed' });
    expect(await arriving).toMatchObject([{ status: 'rejected', reason: { code: 'access.removed' } }]);
    for (const sink of [kept, own, open, publisher]) expect(sink.states.at(-1)?.state).not.toBe('ended');
    expect(await world.sessions.endLost((holder) => holder === 'publisher', error)).toBe(2);
    expect(publisher.states.at(-1)).toEqual({ state: 'ended', code: 'access.removed' });
    // Its name is free.
    await world.publish('a');
  });
});
