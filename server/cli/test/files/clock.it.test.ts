import { readFileSync, writeFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { X264, openWorkbench, pictures, steps, tone } from './workbench.ts';

/** Rows D, E and S of the table of faults: clocks that jump, clocks that start late, pictures that stay. */

const bench = openWorkbench();
const { at, make } = bench;
const AAC = ['-c:a', 'aac', '-b:a', '64k'];

/** @param offset where the file's clock starts */
const stream = (name: string, offset = 0, sound: string[] = tone(0.6)): Promise<unknown> =>
  make(name, ...pictures(0.6), ...sound, ...X264, ...AAC, '-output_ts_offset', String(offset));

const join = (name: string, ...parts: string[]): void =>
  writeFileSync(at(name), Buffer.concat(parts.map((part) => readFileSync(at(part)))));

beforeAll(async () => {
  await stream('a.ts');
  await stream('late.ts', 100);
  await stream('ten-hours.ts', 36_000);
  // The picture goes on where a.ts ends; the sound is 0.2 s early.
  await stream('sound-back.ts', 0.6214, ['-itsoffset', '-0.2', ...tone(0.6)]);
  await make('silent.ts', ...pictures(0.6), ...X264);
  await make('dvd.vob', ...pictures(0.6), ...tone(0.6), '-c:v', 'mpeg2video', '-c:a', 'mp2');
  await make('live.flv', ...pictures(0.6), ...tone(0.6), ...X264, ...AAC);
});

const near = (value: number, expected: number, tolerance: number): void =>
  expect(Math.abs(value - expected), `${value} is not ${expected}`).toBeLessThanOrEqual(tolerance);

it.each([
  ['joined, with sound', ['a.ts', 'a.ts'], 30],
  ['joined, silent', ['silent.ts', 'silent.ts'], 30],
  ['joined three times', ['a.ts', 'a.ts', 'a.ts'], 45],
  ['clock back by 100 s', ['late.ts', 'a.ts'], 30],
  ['clock forward by 98 s', ['a.ts', 'late.ts'], 30],
  ['sound back by 0.2 s', ['a.ts', 'sound-back.ts'], 30],
  ['joined program streams', ['dvd.vob', 'dvd.vob'], 30],
])('D %s: the timeline goes on, picture and sound in step', async (name, parts, frames) => {
  const ending = parts[0]?.slice(-4) === '.vob' ? '.vob' : '.ts';
  const input = `${name.replaceAll(/[^a-z0-9]+/g, '-')}${ending}`;
  join(input, ...parts);
  for (const result of ['.mp4', '.mkv']) {
    const { film } = await bench.upscale(input, { ending: result });
    expect(film.times).toHaveLength(frames);
    near(film.times[0] ?? -1, 0, 0.05);
    // One picture may stand a little longer where sound was longer than the picture.
    expect(Math.min(...steps(film.times))).toBeGreaterThan(0.03);
    expect(Math.max(...steps(film.times))).toBeLessThan(0.13);
    near(film.video.end, frames / 25, 0.15);
    for (const sound of film.audio) {
      near(sound.end, film.video.end, 0.15);
      expect(sound.packets).toBeGreaterThanOrEqual(Math.floor((frames / 25) * (ending === '.vob' ? 41.6 : 46.8)) - 2);
    }
  }
});

it.each(['a.ts', 'ten-hours.ts', 'dvd.vob', 'live.flv', 'silent.ts'])(
  'E %s: the result starts at 0 with the same offset between picture and sound',
  async (input) => {
    const { film } = await bench.upscale(input, { ending: '.mkv' });
    expect(film.times).toHaveLength(15);
    near(Math.min(film.video.start, ...film.audio.map(({ start }) => start)), 0, 0.002);
    near(film.video.start, 0, 0.05);
    near(film.video.end, 0.6, 0.06);
  },
);

it('E sound that starts before the picture, and sound that ends after it, keep their places', async () => {
  await make('early-sound.mkv', '-itsoffset', '0.5', ...pictures(0.4), ...tone(1.5), ...X264, ...AAC);
  const { film } = await bench.upscale('early-sound.mkv');
  near(film.times[0] ?? 0, 0.5, 0.05);
  near(film.audio[0]?.start ?? 1, 0, 0.03);
  near(film.audio[0]?.end ?? 0, 1.5, 0.05);
  await make('late-sound.mkv', ...pictures(0.8), '-itsoffset', '0.4', ...tone(0.4), ...X264, ...AAC);
  const late = await bench.upscale('late-sound.mkv');
  near(late.film.times[0] ?? 1, 0, 0.03);
  near(late.film.audio[0]?.start ?? 0, 0.4, 0.03);
});

it('S pictures that stay (Theora, AVI) are no damage, and their time is kept', async () => {
  const still = ['-f', 'lavfi', '-i', 'color=red:size=64x48:rate=25:duration=1'];
  await make('still.ogv', ...still, '-c:v', 'libtheora', '-q:v', '5');
  const { result, film } = await bench.upscale('still.ogv', { ending: '.mkv' });
  expect(result.damagedPackets).toBe(0);
  expect(result.notices).toEqual([]);
  near(film.video.end, 1, 0.05);
});

it('a variable rate keeps its times', async () => {
  await make('vfr.mkv', ...pictures(2), '-vf', "select='not(mod(n,7))+gt(n,40)'", '-vsync', 'vfr', ...X264);
  const { film } = await bench.upscale('vfr.mkv');
  expect(film.times).toHaveLength(15);
  near(film.times[1] ?? 0, 7 / 25, 0.002);
  near(film.times.at(-1) ?? 0, 49 / 25, 0.002);
});

it('a raw stream has no clock: its pictures come at its rate, from 0', async () => {
  await make('raw.h264', ...pictures(0.4), ...X264, '-bf', '2');
  const { film } = await bench.upscale('raw.h264');
  expect(film.times).toHaveLength(10);
  steps(film.times).forEach((step) => near(step, 0.04, 0.002));
  near(film.times[0] ?? 1, 0, 0.001);
});

it('a start within a group of pictures: what cannot be decoded in front is left out, the rest starts at 0', async () => {
  await make('long.ts', ...pictures(2), ...X264, '-g', '10', '-bf', '2', '-x264-params', 'open-gop=1');
  const whole = readFileSync(at('long.ts'));
  // From the middle of the first group on, at a packet's start.
  writeFileSync(at('mid.ts'), whole.subarray(188 * Math.floor(whole.length / 188 / 10)));
  const { film } = await bench.upscale('mid.ts');
  near(film.times[0] ?? 1, 0, 0.001);
  expect(film.times.length).toBeGreaterThan(30);
});

it.each([
  ['last.flv', ['-c:v', 'flv']],
  ['last.wmv', ['-c:v', 'wmv1']],
])('%s does not say how long its pictures last: the last one stays, of all and of a part', async (name, codec) => {
  await make(name, ...pictures(1), ...codec);
  const whole = await bench.upscale(name);
  expect(whole.film.times.length).toBe(25);
  expect(whole.film.video.end).toBeCloseTo(1, 2);
  const part = await bench.upscale(name, { trim: { startSeconds: 0.2, endSeconds: 0.6 } });
  expect(part.film.times.length).toBe(10);
  expect(part.film.video.end).toBeCloseTo(0.4, 2);
});
