import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../config/config.ts';
import type { Rendition } from '../../media/types.ts';
import { Audience } from '../audience.ts';
import { broadcastSettings } from '../settings.ts';
import type { Subscriber, Subscription } from '../subscriber.ts';

const SECOND = 1_000_000;

/** An audience on a clock of the test; `join` returns what a subscriber can ask for. */
function open() {
  let nowUs = 0;
  const asked: string[] = [];
  const audience = new Audience(broadcastSettings(loadConfig({})), () => nowUs, {
    setEncoders: () => undefined,
    requestResultKeyframe: (codec, rendition) => asked.push(`${codec} ${rendition}`),
    requestSourceKeyframe: () => asked.push('source'),
    sourceIsStill: () => false,
    dropped: () => undefined,
    deferredKeyframes: () => undefined,
    onEnded: () => undefined,
  });
  const join = (id: string): Subscription => {
    let given: Subscription | undefined;
    const wanted: Rendition = 'full';
    const ignore = () => undefined;
    audience.subscribe((subscription): Subscriber => {
      given = subscription;
      return {
        id,
        kind: 'viewer',
        bitrateBps: 0,
        state: { kind: 'waitingKeyframe', rendition: wanted },
        codec: 'H264',
        renditions: [wanted],
        wantsSource: true,
        report: ignore,
        want: () => false,
        restart: ignore,
        onResult: ignore,
        onSource: ignore,
        onAudio: ignore,
        onState: ignore,
        onStats: ignore,
        close: () => Promise.resolve(),
      };
    });
    if (given === undefined) throw new Error('not subscribed');
    given.started();
    return given;
  };
  const advance = (us: number) => {
    nowUs += us;
    audience.adapt(nowUs);
  };
  return { audience, asked, join, advance };
}

describe('what one viewer’s keyframe requests cost the others', () => {
  it.each(['result', 'source'] as const)('a storm for its %s gets a few keyframes, then one every 3 s', (track) => {
    const { audience, asked, join, advance } = open();
    const storm = join('storm');
    advance(60 * SECOND);
    asked.length = 0;
    for (let round = 0; round < 2000; round += 1) {
      storm.requestKeyframe(track);
      advance(10_000);
      if (track === 'source') audience.onSourceKeyframe();
    }
    const wanted = track === 'source' ? 'source' : 'H264 full';
    const count = asked.filter((request) => request === wanted).length;
    expect(count).toBeGreaterThanOrEqual(3);
    expect(count).toBeLessThanOrEqual(3 + 20 / 3 + 1); // 40 before
  });

  it('a newcomer beside it gets its keyframe within half a second', () => {
    const { asked, join, advance } = open();
    const storm = join('storm');
    for (let round = 0; round < 1000; round += 1) {
      storm.requestKeyframe('result');
      advance(10_000);
    }
    asked.length = 0;
    join('honest');
    for (let round = 0; round < 60; round += 1) advance(10_000);
    expect(asked).toContain('H264 full');
    expect(asked).toContain('source');
  });
});
