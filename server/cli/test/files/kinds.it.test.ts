import { readFileSync, writeFileSync } from 'node:fs';
import { AV_PKT_DATA_DISPLAYMATRIX } from 'node-av/constants';
import { expect, it } from 'vitest';
import { readFilm } from '../../../../testing/film.ts';
import { PICTURES, X264, openWorkbench, pictures, steps, tone } from './workbench.ts';

/** Pixel formats, shapes and streams of all kinds, and what changes half-way; row V of the table of faults. */

const bench = openWorkbench();
const { at, make } = bench;

const grey = (level: string): string[] => ['-f', 'lavfi', '-i', `color=${level}:size=64x48:rate=25:duration=0.2`];

it.each([
  ['4:4:4', 'mkv', ['-c:v', 'libx264', '-pix_fmt', 'yuv444p']],
  ['4:2:2', 'mkv', ['-c:v', 'libx264', '-pix_fmt', 'yuv422p']],
  ['4:1:1', 'mkv', ['-c:v', 'ffv1', '-pix_fmt', 'yuv411p']],
  ['4:1:0', 'mkv', ['-c:v', 'ffv1', '-pix_fmt', 'yuv410p']],
  ['full range', 'mkv', ['-c:v', 'mjpeg', '-pix_fmt', 'yuvj420p', '-q:v', '2']],
  ['full range 4:2:2', 'avi', ['-c:v', 'mjpeg', '-pix_fmt', 'yuvj422p', '-q:v', '2']],
  ['full range 4:4:4', 'avi', ['-c:v', 'mjpeg', '-pix_fmt', 'yuvj444p', '-q:v', '2']],
  ['grey', 'mkv', ['-c:v', 'ffv1', '-pix_fmt', 'gray']],
  ['grey of 16 bits', 'mkv', ['-c:v', 'ffv1', '-pix_fmt', 'gray16le']],
  ['12 bits', 'mov', ['-c:v', 'libx265', '-x265-params', 'log-level=none', '-pix_fmt', 'yuv420p10le']],
  ['RGB', 'avi', ['-c:v', 'huffyuv', '-pix_fmt', 'rgb24']],
  ['planar RGB', 'avi', ['-c:v', 'utvideo', '-pix_fmt', 'gbrp']],
  ['a PNG', 'png', ['-frames:v', '1']],
  ['a grey PNG', 'png', ['-frames:v', '1', '-pix_fmt', 'gray']],
  ['a black and white PNG', 'png', ['-frames:v', '1', '-pix_fmt', 'monob']],
  ['a JPEG', 'jpg', ['-frames:v', '1', '-q:v', '2']],
  ['a BMP', 'bmp', ['-frames:v', '1']],
  ['a TIFF', 'tiff', ['-frames:v', '1']],
  ['v210', 'mov', ['-c:v', 'v210']],
  ['ProRes', 'mov', ['-c:v', 'prores_ks']],
])('%s: black stays black, white stays white', async (_, ending, codec) => {
  for (const [name, level] of [
    ['black', 0],
    ['white', 255],
  ] as const) {
    await make(`kind.${ending}`, ...grey(name), ...codec);
    const { film } = await bench.upscale(`kind.${ending}`);
    expect([film.width, film.height]).toEqual([128, 96]);
    for (const value of film.rgb(0, 0.5, 0.5)) expect(Math.abs(value - level)).toBeLessThanOrEqual(3);
  }
});

it('GIF: its palette as it is', async () => {
  await make('red.gif', ...grey('red'));
  const { film } = await bench.upscale('red.gif');
  const source = await readFilm(at('red.gif'));
  film.rgb(0, 0.5, 0.5).forEach((value, index) => {
    expect(Math.abs(value - (source.rgb(0, 0.5, 0.5)[index] ?? 0))).toBeLessThanOrEqual(3);
  });
});

it.each([
  ['argb', ['-c:v', 'qtrle', '-pix_fmt', 'argb']],
  ['yuva444p10le', ['-c:v', 'prores_ks', '-pix_fmt', 'yuva444p10le']],
])('says that the transparency of a film is left out (%s)', async (_, codec) => {
  for (const [name, alpha] of [
    ['clear', 0.5],
    ['opaque', 1],
  ] as const) {
    await make(`${name}.mov`, ...PICTURES, '-vf', `format=rgba,colorchannelmixer=aa=${alpha}`, ...codec);
    const { result } = await bench.upscale(`${name}.mov`);
    expect(result.frames).toBe(10);
    const said = result.notices.filter((words) => words.includes('has transparency'));
    expect(said).toHaveLength(name === 'clear' ? 1 : 0);
  }
});

it.each([
  ['65x49', 130, 98],
  ['64x49', 128, 98],
  ['16x16', 32, 32],
])('a picture of %s', async (size, width, height) => {
  await make('odd.mkv', ...pictures(0.4, size), '-c:v', 'ffv1', '-pix_fmt', 'yuv420p');
  const { film } = await bench.upscale('odd.mkv');
  expect([film.width, film.height, film.times.length]).toEqual([width, height, 10]);
});

// ffmpeg of 2018 counts the other way round.
it.each([90, 180, 270])('V a rotation by %s degrees is kept', async (degrees) => {
  await make('upright.mp4', ...PICTURES, ...X264);
  await make('turned.mp4', '-i', at('upright.mp4'), '-c', 'copy', '-metadata:s:v:0', `rotate=${degrees}`);
  for (const ending of ['.mp4', '.mkv', '.mov']) {
    const { film } = await bench.upscale('turned.mp4', { ending });
    const matrix = film.sideData.get(AV_PKT_DATA_DISPLAYMATRIX);
    const entries = [0, 1, 3, 4].map((index) => (matrix?.readInt32LE(index * 4) ?? 0) / 65536);
    const expected: Record<number, number[]> = { 90: [0, -1, 1, 0], 180: [-1, 0, 0, -1], 270: [0, 1, -1, 0] };
    expect(entries).toEqual(expected[degrees]);
  }
});

it('V a flip and its translation are kept, the translation scaled with the picture', async () => {
  await make('upright.mp4', ...PICTURES, ...X264);
  const file = readFileSync(at('upright.mp4'));
  // The track's matrix (ISO/IEC 14496-12 section 8.3.2): from left to right, and 64 pixels back into view.
  const matrix = file.indexOf('tkhd') + 4 + 40;
  file.writeInt32BE(-65536, matrix);
  file.writeInt32BE(64 * 65536, matrix + 24);
  writeFileSync(at('flipped.mp4'), file);
  const { film } = await bench.upscale('flipped.mp4');
  const found = film.sideData.get(AV_PKT_DATA_DISPLAYMATRIX);
  expect([0, 4, 6].map((index) => (found?.readInt32LE(index * 4) ?? 0) / 65536)).toEqual([-1, 1, 128]);
});

it.each([
  ['size', ['96x72'], [], 'bright'],
  ['shape', ['96x48'], [], 'bars'],
  ['sample aspect', ['64x48'], ['-aspect', '16:9'], 'bars'],
])('a change of %s half-way: the first size stays, another shape gets bars', async (_, [size = ''], aspect, edge) => {
  const white = (of: string): string[] => ['-f', 'lavfi', '-i', `color=white:size=${of}:rate=25:duration=0.4`];
  await make('first.ts', ...white('64x48'), ...X264);
  await make('second.ts', ...white(size), ...X264, ...aspect, '-output_ts_offset', '0.4');
  writeFileSync(at('changes.ts'), Buffer.concat([readFileSync(at('first.ts')), readFileSync(at('second.ts'))]));
  const { film } = await bench.upscale('changes.ts');
  expect([film.width, film.height, film.times.length]).toEqual([128, 96, 20]);
  expect(film.rgb(19, 0.5, 0.5)[1]).toBeGreaterThan(245);
  const corner = film.rgb(19, 0.5, 0.02)[1] ?? 0;
  if (edge === 'bars') expect(corner).toBeLessThan(10);
  else expect(corner).toBeGreaterThan(245);
});

it('takes the film and not its cover, and the marked one of several films', async () => {
  await make('cover.png', '-f', 'lavfi', '-i', 'color=red:size=320x240', '-frames:v', '1');
  await make('song.mp4', ...PICTURES, ...tone(0.4), ...X264, '-c:a', 'aac');
  const inputs = ['-i', at('cover.png'), '-i', at('song.mp4')];
  const cover = ['-map', '0', '-map', '1', '-c', 'copy', '-disposition:v:0', 'attached_pic'];
  await make('covered.mp4', ...inputs, ...cover);
  const { film } = await bench.upscale('covered.mp4');
  expect([film.width, film.height, film.times.length]).toEqual([128, 96, 10]);
  const small = pictures(0.4, '64x48');
  const two = ['-map', '0', '-map', '1', '-disposition:v:0', '0', '-disposition:v:1', 'default'];
  await make('two.mkv', ...pictures(0.4, '96x72'), ...small, ...two, ...X264);
  const marked = await bench.upscale('two.mkv');
  expect(marked.film.width).toBe(128);
});

it('a song with a cover is no video, and says so', async () => {
  await make('cover.png', '-f', 'lavfi', '-i', 'color=red:size=320x240', '-frames:v', '1');
  const cover = ['-map', '0', '-map', '1', '-c:v', 'copy', '-disposition:v:0', 'attached_pic'];
  await make('only-song.mp4', ...tone(0.4), '-i', at('cover.png'), ...cover, '-c:a', 'aac');
  await expect(bench.upscale('only-song.mp4')).rejects.toThrow(/it has no video, only a cover picture/);
});

it('B-frames behind an edit list start at 0 with their sound', async () => {
  const film = [...pictures(0.8), ...tone(0.8), '-c:v', 'libx264', '-pix_fmt', 'yuv420p', '-bf', '3', '-c:a', 'aac'];
  await make('b-frames.mp4', ...film);
  const { film: result } = await bench.upscale('b-frames.mp4');
  expect(result.times).toHaveLength(20);
  expect(Math.abs(result.times[0] ?? 1)).toBeLessThan(0.001);
  steps(result.times).forEach((step) => expect(Math.abs(step - 0.04)).toBeLessThan(0.002));
  // Cut without encoding: pictures in front of the start are there for the decoder only.
  await make('long.mp4', ...pictures(2), ...tone(2), ...X264, '-g', '25', '-bf', '2', '-c:a', 'aac');
  await make('trimmed.mp4', '-ss', '1.2', '-i', at('long.mp4'), '-c', 'copy');
  const trimmed = await bench.upscale('trimmed.mp4');
  expect(Math.abs(trimmed.film.times[0] ?? 1)).toBeLessThan(0.05);
  expect(trimmed.film.times.length).toBeGreaterThanOrEqual(20);
  expect(Math.abs((trimmed.film.audio[0]?.end ?? 0) - trimmed.film.video.end)).toBeLessThan(0.15);
});

it('what an edit list cuts off in front stays cut off', async () => {
  const early = ['-output_ts_offset', '-0.2', '-avoid_negative_ts', 'disabled'];
  await make('negative.mp4', ...pictures(0.8), ...tone(0.8), ...X264, '-c:a', 'aac', ...early);
  for (const ending of ['.mp4', '.mkv']) {
    const { film } = await bench.upscale('negative.mp4', { ending });
    expect(film.times).toHaveLength(15);
    expect(Math.abs(film.times[0] ?? 1)).toBeLessThan(0.05);
    expect(Math.abs((film.audio[0]?.end ?? 0) - film.video.end)).toBeLessThan(0.1);
  }
});
