import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noiseSource } from '../../quality/camera.ts';
import type { I420 } from '../../quality/colour.ts';
import { inTheDark, missingClip, thereAndBack, CLIPS, type BitsClip } from '../clips.ts';
import { CODECS } from '../encoders.ts';
import { readOptions } from '../options.ts';
import { RowFile, type BitsRow } from '../rows.ts';
import { scoreSent, Truth } from '../score.ts';
import { cutLines, scrollAt } from '../screen.ts';
import { send, widthFor } from '../send.ts';

/** Squares and a fine grid that move: something to lose. */
function frame(width: number, height: number, shift: number): I420 {
  const data = new Uint8Array((width * height * 3) / 2).fill(128);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = x + shift;
      const square = Math.floor(at / 16) % 2 === Math.floor(y / 16) % 2 ? 60 : 150;
      data[y * width + x] = square + 25 * Math.sin(at / 1.7) * Math.cos(y / 2.3) + y / 8;
    }
  return { width, height, data };
}

const FRAMES = Array.from({ length: 45 }, (_, t) => frame(320, 192, t));
const clip: BitsClip = { name: 'scene', content: 'camera', truth: FRAMES, seen: FRAMES };
const WINDOW = { bitsFrom: 30, from: 30, warm: 4, psnrEvery: 3, detailEvery: 15 };

describe('clips', () => {
  it('go there and back again without a cut', () => {
    const [a, b, c] = FRAMES as [I420, I420, I420];
    expect(thereAndBack([a, b, c], 7)).toEqual([a, b, c, b, a, b, c]);
    expect(thereAndBack([a], 3)).toEqual([a, a, a]);
  });

  it('in the dark are noisy where they are sent, not in the truth', () => {
    const { truth, seen } = inTheDark(frame(64, 48, 0), noiseSource(1));
    const luma = truth.data.subarray(0, 64 * 48);
    expect(Math.max(...luma)).toBeLessThan(100);
    const errors = luma.map((value, i) => Math.abs(value - (seen.data[i] ?? 0)));
    expect(errors.reduce((a, b) => a + b, 0) / errors.length).toBeGreaterThan(2);
    expect(inTheDark(frame(64, 48, 0), noiseSource(1)).seen).toEqual(seen);
  });

  it('of a screen stand, scroll by even steps, and stand', () => {
    const tops = Array.from({ length: 91 }, (_, t) => scrollAt(t, 720));
    expect(tops.slice(0, 30)).toEqual(new Array(30).fill(0));
    expect(tops.every((top, t) => top % 2 === 0 && top >= (tops[t - 1] ?? 0))).toBe(true);
    expect([tops[45], tops[74], tops[90]]).toEqual([240, 240, 480]);
    const page = frame(32, 64, 0);
    const cut = cutLines(page, 8, 16);
    expect(cut.data).toHaveLength(32 * 16 * 1.5);
    expect(cut.data.subarray(0, 32)).toEqual(page.data.subarray(8 * 32, 9 * 32));
  });

  it('need files, or none', () => {
    expect(Object.values(CLIPS).filter((kind) => !missingClip('', kind)).length).toBeGreaterThanOrEqual(3);
    expect(missingClip('/nowhere', CLIPS['head'] ?? expect.fail())).toBe(true);
  });
});

describe.each(CODECS)('%s', (codec) => {
  it('comes back at every time of the truth, with about the bits it was given, and more bits look better', async () => {
    const truth = new Truth(clip.truth, 192);
    const scores: number[] = [];
    for (const bitrateBps of [60_000, 400_000]) {
      const sent = send(clip, { codec, shortSide: 96, framesPerSecond: 30, bitrateBps }, WINDOW.from);
      // Half a second after the start no rate control is exact.
      expect(sent.kbps, String(bitrateBps)).toBeGreaterThan(bitrateBps / 4000);
      expect(sent.kbps, String(bitrateBps)).toBeLessThan(bitrateBps / 300);
      expect(sent.pictures.get(0)).toMatchObject({ width: widthFor(clip, 96), height: 96 });
      const [score] = await scoreSent(sent, undefined, [truth], WINDOW);
      scores.push(score?.psnrDb ?? NaN);
    }
    truth.close();
    expect(scores[1]).toBeGreaterThan(scores[0] ?? NaN);
    expect(scores[0]).toBeGreaterThan(10);
  });
});

it('a frozen picture counts as it looks: fewer frames a second of something that moves are worse', async () => {
  const truth = new Truth(clip.truth, 192);
  const at = async (framesPerSecond: number): Promise<number> => {
    const sending = { codec: 'H264', shortSide: 192, framesPerSecond, bitrateBps: 3_000_000 } as const;
    const sent = send(clip, sending, WINDOW.from);
    expect(sent.shownFps).toBe(framesPerSecond);
    return (await scoreSent(sent, undefined, [truth], { ...WINDOW, psnrEvery: 1 }))[0]?.psnrDb ?? NaN;
  };
  expect(await at(30)).toBeGreaterThan((await at(10)) + 3);
  truth.close();
});

describe('options', () => {
  it('ask for what there is, and say what there is not', () => {
    const options = readOptions(['--codecs', 'VP8,AV1', '--quick']);
    expect([options.clips, options.codecs, options.sizes]).toEqual([
      ['sway'],
      ['VP8', 'AV1'],
      [180, 270, 360, 540, 720],
    ]);
    expect(readOptions(['--rates', '50,90']).ratesOf(180)).toEqual([50, 90]);
    expect(() => readOptions(['--codecs', 'VP7'])).toThrow('--codecs: there is no VP7; there are VP8, VP9, H264, AV1');
    expect(() => readOptions(['--clips', 'head'])).toThrow('head: webcam/maxine_vfx');
    expect(() => readOptions(['--rates', 'many'])).toThrow('--rates must be numbers');
    expect(() => readOptions(['--sizes', ','])).toThrow('--sizes names nothing');
  });
});

describe('RowFile', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'bits-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('knows after a stop what was measured', () => {
    const path = join(folder, 'rows.jsonl');
    const row: BitsRow = {
      ...{
        clip: 'a',
        content: 'camera',
        codec: 'VP8',
        shortSide: 180,
        framesPerSecond: 30,
        targetKbps: 40,
        kbps: 41.5,
      },
      ...{ shownFps: 30, upscaler: 'nano', goal: 720, psnrDb: 30, ssim: 0.9, perceptual: 0.1 },
    };
    new RowFile(path).add(row);
    const again = new RowFile(path);
    expect(again.has(row)).toBe(true);
    expect(again.has({ ...row, upscaler: 'mini' })).toBe(false);
    expect(again.rows).toEqual([row]);
  });
});
