import { describe, expect, it } from 'vitest';
import {
  SEND_STOPS_BPS,
  chooseSend,
  scaleDownBy,
  upscalersOf,
  valueAt,
  videoBitrateBps,
} from '../assets/choose-send.js';
import { LineFollower } from '../assets/follow-line.js';
import { SEND_TABLE } from '../assets/send-table.js';

const CODECS = ['AV1', 'H264', 'VP8', 'VP9'] as const;
const NANO = { superResolution: true, label: 'nano x4', scale: 4 };
const camera = { codecs: CODECS, upscalers: upscalersOf(NANO), content: 'camera' } as const;
const screen = { ...camera, content: 'screen' } as const;

/** Every rate of the table and between them. */
const RATES = Array.from({ length: 80 }, (_, step) => Math.round(25_000 * 1.055 ** step));

type Codec = (typeof CODECS)[number];
const sets: (readonly Codec[])[] = [...CODECS.map((codec) => [codec]), ['H264', 'VP8'], CODECS];
const models = [NANO, { ...NANO, label: 'mini x4' }, { ...NANO, superResolution: false, label: 'bicubic resize' }];

describe('chooseSend', () => {
  it.each(sets)('never sends smaller or slower pictures, nor expects less, at a higher rate: %j', (...given) => {
    const codecs = given as readonly Codec[];
    for (const model of models) {
      for (const content of ['camera', 'screen'] as const) {
        const choices = RATES.map((bitrateBps) =>
          chooseSend({ bitrateBps, codecs, upscalers: upscalersOf(model), content }),
        );
        const perCodec = codecs.length === 1;
        choices.slice(1).forEach((choice, index) => {
          const before = choices[index] ?? choice;
          const at = `${content}, ${model.label}, ${RATES[index] ?? 0} -> ${RATES[index + 1] ?? 0} bit/s`;
          if (perCodec) expect(choice.shortSide, at).toBeGreaterThanOrEqual(before.shortSide);
          expect(choice.psnrDb, at).toBeGreaterThanOrEqual(before.psnrDb - 0.5);
        });
      }
    }
  });

  it('takes what was measured to be best: no other row that is possible is better', () => {
    for (const bitrateBps of RATES) {
      const choice = chooseSend({ ...camera, bitrateBps });
      const rivals = SEND_TABLE.rows.filter(
        (row) =>
          row.content === 'camera' &&
          row.goal === 720 &&
          row.upscaler === (camera.upscalers[row.shortSide] ?? 'resize'),
      );
      for (const { psnrDb, shownFps } of rivals) {
        const fluent = valueAt(shownFps, bitrateBps) >= 20;
        // The worst stutter counts for two decibels.
        expect(valueAt(psnrDb, bitrateBps)).toBeLessThanOrEqual(choice.psnrDb + (fluent ? 0 : 2));
      }
    }
  });

  it('sends little on a thin line and the goal itself on a wide one', () => {
    for (const codecs of sets) {
      const at = (bitrateBps: number) => chooseSend({ ...camera, codecs, bitrateBps }).shortSide;
      expect(at(30_000)).toBeLessThanOrEqual(360);
      expect(at(1_500_000)).toBe(720);
    }
  });

  it('takes a codec only of those that there are, and says so when there is none', () => {
    expect(chooseSend({ ...camera, codecs: ['VP8'], bitrateBps: 60_000 }).codec).toBe('VP8');
    expect(() => chooseSend({ ...camera, codecs: [], bitrateBps: 60_000 })).toThrow('no measured codec among none');
  });

  it('stays with what is sent while another choice is hardly better, and leaves it when it is clearly worse', () => {
    // Where the choice changes from one size to the next, both are about equal.
    const one = { ...camera, codecs: ['H264'] } as const;
    const edge = RATES.findIndex(
      (bitrateBps, index) =>
        index > 0 &&
        chooseSend({ ...one, bitrateBps }).shortSide >
          chooseSend({ ...one, bitrateBps: RATES[index - 1] ?? 0 }).shortSide,
    );
    const [below, above] = [RATES[edge - 1] ?? 0, RATES[edge] ?? 0];
    const small = chooseSend({ ...one, bitrateBps: below });
    const large = chooseSend({ ...one, bitrateBps: above });
    expect(chooseSend({ ...one, bitrateBps: above }, small).shortSide).toBe(small.shortSide);
    expect(chooseSend({ ...one, bitrateBps: below }, large).shortSide).toBe(large.shortSide);
    expect(chooseSend({ ...one, bitrateBps: 1_500_000 }, small).shortSide).toBe(720);
    expect(chooseSend({ ...one, bitrateBps: 30_000 }, large).shortSide).toBeLessThan(large.shortSide);
  });

  it('changes the codec only for a decibel, or when its encoder does not come down to the rate', () => {
    for (const bitrateBps of RATES.filter((rate) => rate >= 120_000)) {
      const best = chooseSend({ ...camera, bitrateBps });
      for (const codec of CODECS) {
        const current = chooseSend({ ...camera, codecs: [codec], bitrateBps });
        const next = chooseSend({ ...camera, bitrateBps }, current);
        if (next.codec !== codec) expect(next.psnrDb - current.psnrDb, `${bitrateBps} ${codec}`).toBeGreaterThan(0.5);
        else expect(best.psnrDb - next.psnrDb, `${bitrateBps} ${codec}`).toBeLessThan(1.5);
      }
    }
  });

  it('sends screens with at least 360 lines, by no model, and what a small source has', () => {
    for (const bitrateBps of RATES) {
      expect(chooseSend({ ...screen, bitrateBps }).shortSide).toBeGreaterThanOrEqual(360);
      expect(chooseSend({ ...screen, bitrateBps })).toEqual(chooseSend({ ...screen, upscalers: {}, bitrateBps }));
      expect(chooseSend({ ...camera, sourceShortSide: 200, bitrateBps }).shortSide).toBe(180);
      expect(chooseSend({ ...screen, sourceShortSide: 200, bitrateBps }).shortSide).toBe(360);
    }
  });

  it('expects of a model that was not measured at a size what a resize gives', () => {
    const at = (upscalers: object) =>
      chooseSend({ ...camera, upscalers: upscalers as Record<number, 'resize'>, bitrateBps: 60_000 });
    expect(at({ 180: 'another', 360: 'another' })).toEqual(at({}));
  });

  it('takes the nearest goal that was measured', () => {
    expect(chooseSend({ ...camera, goal: 1, bitrateBps: 60_000 })).toEqual(
      chooseSend({ ...camera, goal: 720, bitrateBps: 60_000 }),
    );
  });
});

describe('scaleDownBy', () => {
  it('goes by the short side, whichever it is, and never scales up', () => {
    expect(scaleDownBy({ width: 1280, height: 720 }, 180)).toBe(4);
    expect(scaleDownBy({ width: 720, height: 1280 }, 180)).toBe(4);
    expect(scaleDownBy({ width: 320, height: 240 }, 360)).toBe(1);
  });
});

describe('videoBitrateBps', () => {
  it('leaves out sound and the headers of a packet a picture, and of more where pictures are large', () => {
    expect(videoBitrateBps(60_000)).toBeCloseTo(43_300, -2);
    expect(videoBitrateBps(60_000, 0, 15)).toBeCloseTo(50_200, -2);
    expect(videoBitrateBps(1_000_000, 40_000)).toBeCloseTo(898_700, -2);
    expect(videoBitrateBps(10_000)).toBe(0);
  });
});

describe('upscalersOf', () => {
  it('knows no model where the server has none, and a cheaper one for larger pictures', () => {
    expect(upscalersOf({ ...NANO, superResolution: false })).toEqual({});
    expect(upscalersOf(NANO)[270]).toBe('mini');
    expect(upscalersOf({ ...NANO, label: 'nano x2', scale: 2 })).toEqual({ 360: 'nano-x2' });
  });
});

describe('LineFollower', () => {
  const seconds = (follower: LineFollower, from: number, to: number, bitrateBps: number, request = camera) => {
    for (let second = from; second < to; second += 1) follower.update(second * 1000, { ...request, bitrateBps });
    return follower.current?.shortSide ?? 0;
  };

  it('goes down within three seconds when the line falls, and up again only after eight', () => {
    const follower = new LineFollower();
    expect(seconds(follower, 0, 1, 1_000_000)).toBe(720);
    expect(seconds(follower, 1, 3, 40_000), 'a dip is not a fall').toBe(720);
    expect(seconds(follower, 3, 5, 40_000)).toBeLessThan(720);
    const low = follower.current;
    expect(seconds(follower, 5, 10, 1_000_000), 'five seconds').toBe(low?.shortSide);
    expect(follower.current).toBe(low);
    expect(seconds(follower, 10, 16, 1_000_000), 'a while').toBe(720);
  });

  it('stays on a line that swings around', () => {
    const follower = new LineFollower();
    seconds(follower, 0, 1, 300_000);
    const changes = new Set<unknown>();
    for (let second = 1; second < 120; second += 1)
      changes.add(follower.update(second * 1000, { ...camera, bitrateBps: second % 3 === 0 ? 150_000 : 350_000 }));
    expect(changes.size).toBe(1);
  });

  it('takes a codec that may be sent again when the line has been so for a while, and leaves one that is gone at once', () => {
    const follower = new LineFollower();
    const vp8 = { ...camera, codecs: ['VP8'] } as never;
    seconds(follower, 0, 60, 400_000, vp8);
    const before = follower.current;
    // One low estimate, in the very second in which all codecs may be sent.
    expect(follower.update(60_000, { ...camera, bitrateBps: 60_000 })).toBe(before);
    seconds(follower, 61, 70, 400_000);
    expect(follower.current?.codec).toBe('AV1');
    expect(follower.update(70_000, { ...camera, codecs: ['H264'], bitrateBps: 400_000 }).codec).toBe('H264');
  });

  it('follows other circumstances at once', () => {
    const follower = new LineFollower();
    expect(seconds(follower, 0, 5, 40_000, { ...camera, codecs: ['H264'] } as never)).toBeLessThan(360);
    expect(follower.update(5000, { ...screen, codecs: ['H264'], bitrateBps: 40_000 }).shortSide).toBe(360);
    follower.reset();
    expect(follower.current).toBeUndefined();
  });
});

it('offers stops of a slider from 30 kbit/s to 1.5 Mbit/s', () => {
  expect([SEND_STOPS_BPS[0], SEND_STOPS_BPS.at(-1)]).toEqual([30_000, 1_500_000]);
});
