import { expect, it } from 'vitest';
import { X264, openWorkbench, pictures, tone } from './workbench.ts';

/** Rows A and C of the table of faults: the result says the source's colour and shape, also where sound comes first. */

const bench = openWorkbench();
const { make } = bench;

const colour = (name: string): string[] => ['-f', 'lavfi', '-i', `color=${name}:size=64x48:rate=25:duration=0.2`];
const tags = (matrix: string, primaries: string, transfer: string, range = 'tv'): string[] => [
  ...['-colorspace', matrix, '-color_primaries', primaries, '-color_trc', transfer, '-color_range', range],
];
/** Converts the picture to `matrix` and says so. */
const scaled = (matrix: string, range = 'tv', format = 'yuv420p'): string[] => [
  ...['-vf', `scale=out_color_matrix=${matrix}:out_range=${range}:flags=accurate_rnd,format=${format}`],
];

const near = (found: readonly number[], expected: readonly number[], levels: number): void =>
  expected.forEach((value, index) =>
    expect(Math.abs((found[index] ?? -99) - value), `${found.join()} is not ${expected.join()}`).toBeLessThanOrEqual(
      levels,
    ),
  );

it.each([
  ['bt709', 'bt709', 'bt709', 'bt709'],
  ['bt601', 'smpte170m', 'smpte170m', 'smpte170m'],
])('A %s with sound first: its own tags, and the same red', async (matrix, ...names) => {
  const [space = '', primaries = '', transfer = ''] = names;
  const tagged = [...scaled(matrix), ...tags(space, primaries, transfer)];
  await make('sound.mp4', ...colour('red'), ...tone(0.2), ...tagged, ...X264, '-c:a', 'aac');
  await make('silent.mp4', ...colour('red'), ...tagged, ...X264);
  for (const input of ['sound.mp4', 'silent.mp4']) {
    for (const ending of ['.mp4', '.mkv']) {
      const { film } = await bench.upscale(input, { ending });
      expect(film.colour).toEqual(names);
      expect(film.range).toBe('tv');
      near(film.rgb(0, 0.5, 0.5), [254, 0, 0], 2);
    }
  }
});

it('A BT.601 at 720 lines with sound keeps its tags', async () => {
  const tagged = [...scaled('bt601'), ...tags('smpte170m', 'smpte170m', 'smpte170m')];
  const red = ['-f', 'lavfi', '-i', 'color=red:size=96x720:rate=25:duration=0.12'];
  await make('hd.mp4', ...red, ...tone(0.2), ...tagged, ...X264, '-c:a', 'aac');
  const { film } = await bench.upscale('hd.mp4');
  expect(film.colour).toEqual(['smpte170m', 'smpte170m', 'smpte170m']);
  near(film.rgb(0, 0.5, 0.5), [254, 0, 0], 2);
});

it('A full range with sound stays full range', async () => {
  const tagged = [...scaled('bt601', 'pc', 'yuvj420p'), ...tags('smpte170m', 'smpte170m', 'smpte170m', 'pc')];
  await make('full.mp4', ...colour('0x333333'), ...tone(0.2), ...tagged, '-c:v', 'libx264', '-c:a', 'aac');
  const { film } = await bench.upscale('full.mp4');
  expect(film.range).toBe('pc');
  near(film.rgb(0, 0.5, 0.5), [51, 51, 51], 1);
});

it('A an RGB screen recording with sound keeps its greys and its red', async () => {
  for (const [name, rgb] of [
    ['0x3c3c3c', [60, 60, 60]],
    ['red', [254, 0, 0]],
  ] as const) {
    await make(
      'screen.mkv',
      ...colour(name),
      ...tone(0.2),
      '-c:v',
      'libx264rgb',
      '-preset',
      'ultrafast',
      '-c:a',
      'aac',
    );
    const { film } = await bench.upscale('screen.mkv');
    near(film.rgb(0, 0.5, 0.5), rgb, 2);
  }
});

it.each([
  ['vob', ['-c:v', 'mpeg2video', '-aspect', '16:9']],
  ['ts', [...X264, '-aspect', '16:9']],
  ['h264', [...X264, '-aspect', '16:9']],
  ['mp4', [...X264, '-aspect', '16:9']],
  ['mkv', [...X264, '-aspect', '16:9']],
  ['hevc', ['-c:v', 'libx265', '-x265-params', 'log-level=none', '-aspect', '16:9']],
])('C the sample aspect of a .%s is kept', async (ending, codec) => {
  await make(`aspect.${ending}`, ...pictures(0.2), ...codec);
  const { film } = await bench.upscale(`aspect.${ending}`);
  expect(film.sampleAspect).toBe('4:3');
});
