/** How a clip becomes a row, and what rows become: with methods made here, whose results are known. */
import { describe, expect, it } from 'vitest';
import { astronautFrames, type TestClip, type TestFrame } from '../clips.ts';
import { shrinkI420 } from '../camera.ts';
import { i420Chroma, i420Luma, i420ToRgb } from '../colour.ts';
import type { Method } from '../methods.ts';
import { markdown } from '../report.ts';
import { checkRequirements } from '../requirements.ts';
import { resizePlane, type Plane } from '../resize.ts';
import { scoreClip, type Row } from '../score.ts';
import type { Timing } from '../timing.ts';

const frames: TestFrame[] = astronautFrames(5).map((full) => {
  const i420 = shrinkI420(full, 4);
  const truthChroma = i420Chroma(full);
  return { i420, rgb: i420ToRgb(i420), luma: i420Luma(i420), truth: i420Luma(full), truthChroma };
});
const clip: TestClip = { set: 'made', name: 'astronaut', frames, warm: 2, kbps: 12.34 };

function method(luma: (frame: TestFrame) => Plane, rest: Partial<Method> = {}): Method & { log: string[] } {
  const log: string[] = [];
  return {
    name: 'made',
    scale: 4,
    recurrent: false,
    parameters: 0,
    log,
    reset: () => void log.push('reset'),
    upscale: async (frame) => {
      log.push(`frame ${frames.indexOf(frame)}`);
      return { luma: luma(frame) };
    },
    close: async () => undefined,
    ...rest,
  };
}
const bicubic = ({ luma }: TestFrame): Plane => resizePlane(luma, luma.width * 4, luma.height * 4, 'bicubic');
const moved = (plane: Plane, by: number): Plane => ({
  ...plane,
  data: plane.data.map((_, i) => plane.data[Math.min(i + by, plane.data.length - 1)] as number),
});

describe('scoreClip', () => {
  it('the truth has no error, no flicker and no distance', async () => {
    const row = await scoreClip(
      clip,
      method((frame) => frame.truth),
    );
    expect(row).toMatchObject({ psnrDb: Infinity, ssim: 1, perceptual: 0, flickerLevels: 0, chromaPsnrDb: null });
    expect(row).toMatchObject({ scale: 4, set: 'made', clip: 'astronaut', frames: 3, kbps: 12.3 });
  });

  it('a picture shifted by half an input pixel is worse than bicubic in every measure', async () => {
    const [plain, shifted] = [
      await scoreClip(clip, method(bicubic)),
      await scoreClip(
        clip,
        method((frame) => moved(bicubic(frame), 2)),
      ),
    ];
    expect(plain.psnrDb).toBeGreaterThan(shifted.psnrDb + 1);
    expect(plain.ssim).toBeGreaterThan(shifted.ssim);
    expect(plain.perceptual).toBeLessThan(shifted.perceptual);
    expect(plain.flickerLevels).toBeLessThan(shifted.flickerLevels ?? 0);
  });

  it('noise that changes between frames shows as flicker, the same noise in all does not', async () => {
    const noise = (frame: TestFrame, seed: number): Plane => ({
      ...frame.truth,
      data: frame.truth.data.map((value, i) => value + (((i * 7919 + seed * 104729) % 11) - 5)),
    });
    const [still, moving] = [
      await scoreClip(
        clip,
        method((frame) => noise(frame, 0)),
      ),
      await scoreClip(
        clip,
        method((frame) => noise(frame, frames.indexOf(frame))),
      ),
    ];
    expect(still.flickerLevels).toBeLessThan(0.001);
    expect(moving.flickerLevels).toBeGreaterThan(2);
    expect(moving.psnrDb).toBeCloseTo(still.psnrDb, 1);
  });

  it('flicker compares each frame with the one before it', async () => {
    const blinking = method((frame) => ({
      ...frame.truth,
      data: frame.truth.data.map((value) => value + (frames.indexOf(frame) === 3 ? 5 : 0)),
    }));
    expect((await scoreClip(clip, blinking)).flickerLevels).toBeCloseTo(5, 3);
  });

  it('recurrent methods start again and see the warm-up; others skip it', async () => {
    const [plain, recurrent] = [method(bicubic), method(bicubic, { recurrent: true })];
    expect((await scoreClip(clip, plain)).frames).toBe(3);
    expect((await scoreClip(clip, recurrent)).frames).toBe(3);
    expect(plain.log).toEqual(['reset', 'frame 2', 'frame 3', 'frame 4']);
    expect(recurrent.log).toEqual(['reset', 'frame 0', 'frame 1', 'frame 2', 'frame 3', 'frame 4']);
  });

  it('chroma is scored where a method makes it', async () => {
    const withTruth: Method = {
      ...method(bicubic),
      upscale: async (frame) => {
        const [u, v] = frame.truthChroma;
        return { luma: bicubic(frame), chroma: () => [u, { ...v, data: v.data.map((value) => value + 1) }] };
      },
    };
    // U is exact (infinite), so the mean is too; V alone would be 48.13 dB.
    expect((await scoreClip(clip, withTruth)).chromaPsnrDb).toBe(Infinity);
  });
});

const row = (method: string, scale: number, set: string, rest: Partial<Row> = {}): Row => ({
  scale,
  set,
  clip: 'one',
  method,
  frames: 1,
  psnrDb: 25,
  ssim: 0.8,
  perceptual: 0.1,
  flickerLevels: 1,
  chromaPsnrDb: null,
  ...rest,
});
const time = (method: string, medianMs: number, what: Timing['what'] = 'network'): Timing => ({
  method,
  what,
  input: '320x180',
  threads: 2,
  medianMs,
  fastestTenthMs: medianMs,
  runs: 1,
});

describe('requirements', () => {
  const verdict = (rows: Row[], timings: Timing[], name: RegExp): (boolean | undefined)[] =>
    checkRequirements(rows, timings)
      .filter(({ requirement }) => name.test(requirement))
      .map(({ met }) => met);

  it('nothing measured is nothing met', () => {
    const verdicts = checkRequirements([], []);
    expect(verdicts.length).toBeGreaterThan(40);
    expect(new Set(verdicts.map(({ met }) => met))).toEqual(new Set([undefined]));
  });

  it('the gain on Vid4 is a mean over clips, and x2 does not count', () => {
    const rows = (gain: number): Row[] => [
      row('bicubic', 4, 'Vid4', { clip: 'a', psnrDb: 20 }),
      row('bicubic', 4, 'Vid4', { clip: 'b', psnrDb: 24 }),
      row('nano', 4, 'Vid4', { clip: 'a', psnrDb: 20 + gain }),
      row('nano', 4, 'Vid4', { clip: 'b', psnrDb: 24 + gain }),
      row('nano', 2, 'Vid4', { psnrDb: 99 }),
    ];
    expect(verdict(rows(1.11), [], /1\.1 dB above/)).toEqual([true]);
    expect(verdict(rows(1.08), [], /1\.1 dB above/)).toEqual([false]);
  });

  it('compressed: more PSNR and SSIM, less distance, at each rate; a rate that was not run stays open', () => {
    const set = 'webcam h264 120 kbit/s';
    const rows = [row('bicubic', 4, set), row('nano', 4, set, { psnrDb: 25.1, ssim: 0.79, perceptual: 0.09 })];
    expect(verdict(rows, [], /^nano better than bicubic, x4 webcam h264 120/)).toEqual([true, false, true]);
    expect(verdict(rows, [], /^nano better than bicubic, x4 webcam h264 60/)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('flicker of compressed clips needs all three rates', () => {
    const some = ['60', '120'].flatMap((rate) => [
      row('nano', 4, `webcam h264 ${rate} kbit/s`, { flickerLevels: 0.9 }),
      row('ESPCN', 4, `webcam h264 ${rate} kbit/s`),
    ]);
    const all = [
      ...some,
      row('nano', 4, 'webcam h264 250 kbit/s', { flickerLevels: 0.8 }),
      row('ESPCN', 4, 'webcam h264 250 kbit/s'),
    ];
    expect(verdict(some, [], /nano flickers less than ESPCN, compressed/)).toEqual([undefined]);
    expect(verdict(all, [], /nano flickers less than ESPCN, compressed/)).toEqual([true]);
  });

  it('times are those of the network, at most their limit', () => {
    const times = (nano: number, mini: number): Timing[] => [
      time('nano', 99, 'product'),
      time('nano', nano),
      time('mini', mini),
      time('ESPCN', 7.6),
    ];
    expect(verdict([], times(20, 7.6), /nano at 320|half|than ESPCN: ms/)).toEqual([true, true, true]);
    expect(verdict([], times(20.1, 10.1), /nano at 320|half|than ESPCN: ms/)).toEqual([false, false, false]);
  });
});

describe('the report', () => {
  it('has means over clips, bits, a dash for what a method lacks, and what was not run', () => {
    const rows = [
      row('bicubic', 4, 'webcam h264 60 kbit/s', { clip: 'a', psnrDb: 20, kbps: 50 }),
      row('bicubic', 4, 'webcam h264 60 kbit/s', { clip: 'b', psnrDb: 30, kbps: 60 }),
      row('nano', 4, 'Set5', { flickerLevels: null }),
      row('mini', 4, 'Set5', { clip: 'a' }),
      row('mini', 4, 'Set5', { clip: 'b', flickerLevels: null }),
    ];
    const parameters = { bicubic: 0, nano: 881_234 };
    const notRun = ['missing: test/vid4/walk'];
    const verdicts = [{ requirement: 'r', met: false, measured: '1 against 2' }];
    const text = markdown({ rows, timings: [time('nano', 17.04)], verdicts, parameters, notRun });
    expect(text).toMatch(/2 clips \(a, b\); the streams took 55 kbit\/s/);
    expect(text).toMatch(/\| bicubic +\| 25\.00 +\| 0\.8000 +\| 0\.1000 +\| 1\.000 +\| - +\|/);
    expect(text).toMatch(/\| nano +\| 881k +\|.*\| 17\.0 +\|/);
    expect(text).toMatch(/\| nano +\| 25\.00 +\| 0\.8000 +\| 0\.1000 +\| - +\| - +\|/);
    // A mean over half the clips would be another number.
    expect(text).toMatch(/\| mini +\| 25\.00 +\| 0\.8000 +\| 0\.1000 +\| - +\| - +\|/);
    expect(text).toMatch(/\| r +\| NO +\| 1 against 2 +\|/);
    expect(text).toContain('- missing: test/vid4/walk');
  });
});
