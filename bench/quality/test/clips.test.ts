import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { noiseSource, shrinkI420, soften, webcam } from '../camera.ts';
import { astronautFrames, missingIn, PARTS, pictureFrame, variants } from '../clips.ts';
import { compress } from '../codec.ts';
import { i420Luma, type I420 } from '../colour.ts';
import { psnr } from '../metrics.ts';
import { writePng } from '../png.ts';
import { plane, random, scene } from './planes.ts';

const folder = mkdtempSync(join(tmpdir(), 'quality-clips-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function frame(width: number, height: number, shift: number): I420 {
  const chroma = new Uint8Array((2 * width * height) / 4).fill(128);
  const luma = Uint8Array.from(scene(width, height, shift).data);
  return { width, height, data: new Uint8Array(Buffer.concat([luma, chroma])) };
}

describe('camera', () => {
  it('has noise of mean 0 and deviation 1, the same for the same seed', () => {
    const next = noiseSource(9);
    const values = Array.from({ length: 20_000 }, next);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(deviation - 1)).toBeLessThan(0.03);
    const again = noiseSource(9);
    expect(values.slice(0, 5)).toEqual(Array.from({ length: 5 }, again));
  });

  it('softens an edge by its sigma and leaves flat parts alone', () => {
    const soft = soften(
      plane(40, 9, (x) => (x < 20 ? 0 : 100)),
      2,
    ).data;
    // A Gaussian edge: 15.9 % one sigma before it (samples sit half a pixel from the edge).
    expect(soft[4 * 40 + 17]).toBeGreaterThan(8);
    expect(soft[4 * 40 + 17]).toBeLessThan(13);
    expect((soft[4 * 40 + 19] ?? 0) + (soft[4 * 40 + 20] ?? 0)).toBeCloseTo(100, 3);
    expect([soft[0], soft[8 * 40 + 39]]).toEqual([0, 100]);
  });

  it('shrinks all planes, and a webcam sees less than a clean one', () => {
    const full = frame(128, 96, 0);
    const [clean, seen] = [shrinkI420(full, 4), shrinkI420(full, 4, webcam(1))];
    expect([clean.width, clean.height, clean.data.length]).toEqual([32, 24, (32 * 24 * 3) / 2]);
    expect(seen.data).not.toEqual(clean.data);
    expect(shrinkI420(full, 4, webcam(1)).data).toEqual(seen.data);
    const flat = plane(32, 24, () => 105);
    expect(psnr(i420Luma(seen), i420Luma(clean))).toBeGreaterThan(psnr(flat, i420Luma(clean)));
  });
});

describe('compression', () => {
  const clip = Array.from({ length: 30 }, (_, t) => frame(160, 96, t / 2));
  const luma = (frames: I420[]): number[] =>
    frames.map((decoded, t) => psnr(i420Luma(decoded), i420Luma(clip[t] as I420)));

  it.each(['h264', 'vp8'] as const)(
    '%s keeps every frame in its place, and more bits make better pictures',
    (codec) => {
      const [low, high] = [compress(clip, { codec, kbps: 60 }), compress(clip, { codec, kbps: 600 })];
      expect(high.frames).toHaveLength(30);
      expect(high.kbps).toBeGreaterThan(1.5 * low.kbps);
      // One second of a new stream: the key frame may take more than its share, the rest less.
      expect(high.kbps).toBeGreaterThan(200);
      expect(high.kbps).toBeLessThan(1000);
      const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
      expect(mean(luma(high.frames))).toBeGreaterThan(mean(luma(low.frames)) + 2);
      // A frame is nearest to the one it came from, not to a neighbour four frames on.
      const at = (t: number): number => psnr(i420Luma(high.frames[20] as I420), i420Luma(clip[t] as I420));
      expect(at(20)).toBeGreaterThan(at(24));
      expect(at(20)).toBeGreaterThan(at(16));
    },
  );

  it('gives the same bits again', () => {
    const twice = [1, 2].map(() => compress(clip, { codec: 'h264', kbps: 120 }));
    expect(twice[1]).toEqual(twice[0]);
  });
});

describe('clips', () => {
  it('cuts pictures to multiples of the scale', () => {
    const next = random(1);
    const rgb = { width: 22, height: 13, data: Float32Array.from({ length: 3 * 22 * 13 }, () => 255 * next()) };
    const { truth, luma, i420, truthChroma } = pictureFrame(rgb, 4);
    expect([truth.width, truth.height, luma.width, luma.height]).toEqual([20, 12, 5, 3]);
    expect([i420.data.length, truthChroma[0].width, truthChroma[1].height]).toEqual([15 + 2 * 3 * 2, 10, 6]);
  });

  it('the astronaut sways by whole pixels: frames are views of one picture', () => {
    const [first, second] = astronautFrames(13).filter((_, t) => t % 12 === 0) as [I420, I420];
    const shift = {
      x: Math.round(32 + 26 * Math.sin((2 * Math.PI * 12) / 120)) - 32,
      y: Math.round(32 + 20 * Math.sin((2 * Math.PI * 12) / 90)) - 32,
    };
    expect(shift.x).toBeGreaterThan(5);
    for (let y = 0; y < 200; y += 7)
      for (let x = 0; x < 300; x += 7)
        expect(second.data[y * 416 + x]).toBe(first.data[(y + shift.y) * 416 + x + shift.x]);
  });

  it('the astronaut part runs without --data: clean and compressed, every frame with its truth', () => {
    const clips = [...(PARTS['astronaut']?.clips({ data: '', warm: 2, scored: 2, quick: true }) ?? [])];
    expect(clips.map(({ set, kbps }) => [set, kbps === undefined])).toEqual([
      ['astronaut clean', true],
      ['astronaut h264 60 kbit/s', false],
    ]);
    for (const { frames } of clips)
      for (const { i420, truth } of frames)
        expect([i420.width * 4, i420.height * 4]).toEqual([truth.width, truth.height]);
  });

  it('compressed input went through the camera: with bits in plenty, its noise and softness remain', () => {
    const [clean, seen] = [...variants('any', 'one', astronautFrames(4), 4, 0, [{ codec: 'h264', kbps: 20_000 }])];
    const last = (clip = clean) => i420Luma((clip?.frames.at(-1) as { i420: I420 }).i420);
    // Noise of 2 levels alone would be 42 dB; the codec at this rate would be far above.
    expect(psnr(last(seen), last(clean))).toBeLessThan(40);
    expect(psnr(last(seen), last(clean))).toBeGreaterThan(25);
  });

  it('pictures come from their folder with their own low-resolution side', () => {
    const place = join(folder, 'test/Set5');
    mkdirSync(place, { recursive: true });
    const grey = (side: number, value: number) => ({
      width: side,
      height: side,
      data: new Float32Array(3 * side * side).fill(value),
    });
    writeFileSync(join(place, 'img_001_SRF_4_HR.png'), writePng(grey(32, 200)));
    writeFileSync(join(place, 'img_001_SRF_4_LR.png'), writePng(grey(8, 100)));
    const [clip] = [...(PARTS['stills']?.clips({ data: folder, warm: 0, scored: 1, quick: true }) ?? [])];
    expect(clip?.name).toBe('img_001');
    expect(clip?.frames[0]?.luma.data[0]).toBeCloseTo(16 + (219 * 100) / 255, 2);
    expect(clip?.frames[0]?.truth.data[0]).toBeCloseTo(16 + (219 * 200) / 255, 2);
  });

  it('names missing inputs; an empty folder is missing, too', () => {
    mkdirSync(join(folder, 'test/Set14'), { recursive: true });
    expect(missingIn(folder, ['test/Set5', 'test/Set14', 'webcam/man.mp4'])).toEqual(['test/Set14', 'webcam/man.mp4']);
  });
});
