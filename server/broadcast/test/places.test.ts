import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Places, type Place } from '../places.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const never = new AbortController().signal;
const noIdle = { hasIdle: () => false, releaseIdle: () => false };
const taken = (places: Places, count: number) => Array.from({ length: count }, () => places.tryTake() as Place);
/** A pipeline's end that the test decides. */
function ending() {
  let end = (): void => undefined;
  const closed = new Promise<void>((resolve) => (end = resolve));
  return { closed, end: () => end() };
}
const flush = async () => {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
};

it('grants at most its capacity, counted in the same step', () => {
  const places = new Places({ capacity: 2, ...noIdle });
  expect(Array.from({ length: 10 }, () => places.tryTake()).filter(Boolean)).toHaveLength(2);
});

it('wakes one waiter for each place that comes free: two freed while ten wait are two more, not ten', async () => {
  const places = new Places({ capacity: 2, ...noIdle });
  const [a, b] = taken(places, 2);
  const [first, second] = [ending(), ending()];
  void places.releaseAfter(a as Place, first.closed);
  void places.releaseAfter(b as Place, second.closed);
  const results = Array.from({ length: 10 }, () =>
    places.take(never).then(
      () => 'in',
      ({ code }: { code: string }) => code,
    ),
  );
  first.end();
  second.end();
  await flush();
  await vi.advanceTimersByTimeAsync(6000);
  const outcomes = await Promise.all(results);
  expect(outcomes.filter((outcome) => outcome === 'in')).toHaveLength(2);
  expect(outcomes.filter((outcome) => outcome === 'server.full')).toHaveLength(8);
  expect(places.taken).toBe(2);
});

it('keeps a place taken until its pipeline’s thread is gone, then passes it on', async () => {
  const places = new Places({ capacity: 1, ...noIdle });
  const [place] = taken(places, 1);
  const { closed, end } = ending();
  void places.releaseAfter(place as Place, closed);
  expect(places.tryTake()).toBeUndefined();
  const next = places.take(never);
  expect(places.taken).toBe(1);
  end();
  const granted = await next;
  expect(places.taken).toBe(1);
  granted.release();
  granted.release();
  expect(places.taken).toBe(0);
});

it('asks the idlest broadcast for its place only when no other is about to come free', async () => {
  let asked = 0;
  const places: Places = new Places({
    capacity: 1,
    hasIdle: () => true,
    releaseIdle: () => {
      asked += 1;
      void places.releaseAfter(held as Place, Promise.resolve());
      return true;
    },
  });
  const held = places.tryTake();
  expect(() => places.check()).not.toThrow();
  await places.take(never);
  expect(asked).toBe(1);
});

it('counts no waiter whose publisher has left: the place that comes free is the next one’s', async () => {
  const places = new Places({ capacity: 1, ...noIdle });
  const [place] = taken(places, 1);
  const { closed, end } = ending();
  void places.releaseAfter(place as Place, closed);
  const left = new AbortController();
  const gone = expect(places.take(left.signal)).rejects.toMatchObject({ code: 'server.full' });
  expect(() => places.check()).toThrow('limits.maxBroadcasts');
  left.abort();
  await gone;
  expect(() => places.check()).not.toThrow();
  const next = places.take(never);
  end();
  await next;
  expect(vi.getTimerCount()).toBe(0);
});

it('gives up a wait after its time, and a pipeline that fails to close frees its place all the same', async () => {
  const places = new Places({ capacity: 1, ...noIdle });
  const [place] = taken(places, 1);
  let fail = (): void => undefined;
  void places.releaseAfter(place as Place, new Promise((_, reject) => (fail = () => reject(new Error('stuck')))));
  const waiting = expect(places.take(never)).rejects.toMatchObject({ code: 'server.full' });
  await vi.advanceTimersByTimeAsync(5000);
  await waiting;
  fail();
  await flush();
  expect(places.taken).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

it('says when a place has come free, which is after its pipeline is gone', async () => {
  const freed: number[] = [];
  const places: Places = new Places({ capacity: 1, ...noIdle, onFreed: () => void freed.push(places.taken) });
  const [place] = taken(places, 1);
  const pipeline = ending();
  void places.releaseAfter(place as Place, pipeline.closed);
  await flush();
  expect(freed).toEqual([]);
  pipeline.end();
  await flush();
  expect(freed).toEqual([0]);
});
