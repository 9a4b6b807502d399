import { describe, expect, it } from 'vitest';
import { chooseSend, upscalersOf } from '../../../client-demo/assets/choose-send.js';
import type { Curve } from '../curves.ts';
import { judge, judgementTable } from '../judge.ts';

const curve = (given: Partial<Curve>): Curve => ({
  ...{ clip: 'a', content: 'camera', goal: 720, codec: 'VP8', shortSide: 180, framesPerSecond: 30, upscaler: 'nano' },
  points: [
    { kbps: 20, psnrDb: 28, shownFps: 30 },
    { kbps: 1000, psnrDb: 33, shownFps: 30 },
  ],
  ...given,
});

describe('judge', () => {
  const upscalers = upscalersOf({ superResolution: true, label: 'nano x4', scale: 4 });
  const chosen = chooseSend({ bitrateBps: 40_000, codecs: ['VP8'], upscalers, content: 'camera' });

  it('compares the page’s choice with the best way of sending that clip', () => {
    const flat = [{ kbps: 20, psnrDb: 30, shownFps: 30 }];
    const own = curve({ shortSide: chosen.shortSide, upscaler: upscalers[chosen.shortSide] ?? 'resize', points: flat });
    const better = curve({ shortSide: 540, upscaler: 'resize', points: [{ kbps: 20, psnrDb: 31, shownFps: 30 }] });
    const notHere = curve({ shortSide: 540, upscaler: 'nano', points: [{ kbps: 20, psnrDb: 50, shownFps: 30 }] });
    const judged = judge([own, better, notHere]);
    const thin = judged.find(({ kbps }) => kbps === 40);
    expect(thin).toMatchObject({ psnrDb: 30, best: 'VP8 540p', bestDb: 31 });
    expect(judgementTable(judged)).toContain(`VP8 ${chosen.shortSide}p 30.0 (VP8 540p +1.0)`);
  });

  it('settles on the next smaller size where the encoder leaves pictures out', () => {
    const wide = chooseSend({ bitrateBps: 300_000, codecs: ['VP8'], upscalers, content: 'camera' }).shortSide;
    const stutters = curve({ shortSide: wide, upscaler: 'resize', points: [{ kbps: 200, psnrDb: 25, shownFps: 9 }] });
    const smaller = curve({ shortSide: 360, upscaler: 'nano-x2', points: [{ kbps: 100, psnrDb: 33, shownFps: 30 }] });
    const judged = judge([stutters, smaller, curve({})]).find(({ kbps }) => kbps === 300);
    expect(judged).toMatchObject({ choice: 'VP8 360p', psnrDb: 33, bestDb: 33 });
  });

  it('says when the choice needs more bits on a clip, and nothing about rates that nothing comes down to', () => {
    const judged = judge([
      curve({ shortSide: 540, upscaler: 'resize', points: [{ kbps: 50, psnrDb: 31, shownFps: 30 }] }),
    ]);
    expect(judged.map(({ kbps }) => kbps)[0]).toBe(60);
    expect(judged[0]?.psnrDb).toBeUndefined();
    expect(judgementTable(judged)).toMatch(/not at this rate here; best VP8 540p 31\.0/);
  });

  it('goes on where the table knows nothing of a codec', () => {
    const judged = judge([curve({ codec: 'AV2' as 'AV1' })]);
    expect(judged[0]).toMatchObject({ choice: 'not in the table', best: 'AV2 180p' });
  });

  it('takes several codecs together, too', () => {
    const sets = judge([curve({}), curve({ codec: 'AV1' })]).map(({ codecs }) => codecs.join());
    expect([...new Set(sets)]).toEqual(['VP8', 'AV1', 'VP8,AV1']);
  });
});
