import { describe, expect, it } from 'vitest';
import { countWork } from '../../../testing/count-work.ts';
import { ViewerKeyframeRequests } from '../viewer-keyframe-requests.ts';

const MS = 1000;

/** Polls every 10 ms; a keyframe follows each request by 40 ms. @returns the times (ms) at which one was asked for */
function run(
  requests: ViewerKeyframeRequests,
  seconds: number,
  asking: (ms: number) => readonly string[],
): readonly number[] {
  const asked: number[] = [];
  for (let ms = 0; ms < seconds * 1000; ms += 10) {
    if (ms - (asked.at(-1) ?? -Infinity) === 40) requests.satisfied();
    let now = requests.poll(ms * MS);
    for (const viewer of asking(ms)) now = requests.request(viewer, ms * MS) || now;
    if (now) asked.push(ms);
  }
  return asked;
}

describe('ViewerKeyframeRequests', () => {
  it('lets a request through at once and merges those within the interval', () => {
    const requests = new ViewerKeyframeRequests();
    expect(requests.request('a', 0)).toBe(true);
    requests.satisfied();
    expect(requests.request('b', 100 * MS)).toBe(false);
    expect(requests.request('a', 200 * MS)).toBe(false);
    expect(requests.poll(499 * MS)).toBe(false);
    expect(requests.poll(500 * MS)).toBe(true);
    expect(requests.poll(2000 * MS)).toBe(false);
  });

  it('counts a keyframe that another viewer caused as the answer', () => {
    const requests = new ViewerKeyframeRequests();
    requests.request('a', 0);
    requests.request('b', 100 * MS);
    requests.satisfied();
    expect(requests.poll(5000 * MS)).toBe(false);
  });

  it('grants one viewer that asks 1000 times a second three keyframes and then one every 3 s', () => {
    const asked = run(new ViewerKeyframeRequests(), 21, () => Array<string>(10).fill('storm'));
    expect(asked.length).toBeLessThanOrEqual(3 + 7); // 42 before
    expect(asked.slice(0, 3)).toEqual([0, 500, 1000]);
  });

  it('serves an honest viewer at once beside a storm', () => {
    const requests = new ViewerKeyframeRequests();
    const joins = [10_200, 20_400];
    const asked = run(requests, 30, (ms) => (joins.includes(ms) ? ['honest', 'storm'] : ['storm']));
    for (const join of joins) expect(asked.find((ms) => ms >= join)).toBeLessThanOrEqual(join + 500);
    expect(requests.deferred).toBeGreaterThan(0);
  });

  it('grants 200 storming viewers together no more than one keyframe a second after the first six', () => {
    const storm = Array.from({ length: 200 }, (_, index) => `v${index}`);
    const asked = run(new ViewerKeyframeRequests(), 20, () => storm);
    expect(asked.length).toBeLessThanOrEqual(6 + 20);
  });

  it('forgets a viewer that left, with its pending request', () => {
    const requests = new ViewerKeyframeRequests({ viewerBurst: 1 });
    requests.request('a', 0);
    requests.satisfied();
    requests.request('a', 100 * MS);
    requests.forget('a');
    expect(requests.poll(10_000 * MS)).toBe(false);
  });

  it('costs a storm O(1) a request', () => {
    const requests = new ViewerKeyframeRequests();
    for (let viewer = 0; viewer < 1000; viewer += 1) requests.request(`v${viewer}`, 0);
    const work = countWork(() => {
      for (let index = 0; index < 10_000; index += 1) requests.request('storm', index * 50); // half a second
    });
    expect(work / 10_000).toBeLessThan(20);
  });
});
