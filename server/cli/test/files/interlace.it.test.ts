import { expect, it } from 'vitest';
import type { Film } from '../../../../testing/film.ts';
import { OPTIONS, X264, openWorkbench } from './workbench.ts';

/** Row B of the table of faults: interlaced pictures of every kind, whatever their flags say. */

const bench = openWorkbench();
const { make } = bench;

/** A white bar that moves 4 pixels with every field: straight in a progressive picture, a comb in an interlaced one. */
const bar = (order: 'top' | 'bottom' | 'none', size = '96x64', format = 'yuv420p'): string[] => {
  const fields = order === 'none' ? '' : `,tinterlace=interleave_${order}`;
  const lines = `geq=lum='16+219*between(X,4*N,4*N+19)':cb=128:cr=128`;
  return ['-f', 'lavfi', '-i', `color=black:size=${size}:rate=50:duration=0.4,${lines}${fields},format=${format}`];
};

/** Largest difference of neighbouring lines in the middle of picture 5: some 200 with a comb, little without. */
function comb(film: Film, lines = 1): number {
  let largest = 0;
  for (let y = 40; y < 60; y += 1) {
    for (let x = 0; x < film.width; x += 1)
      largest = Math.max(largest, Math.abs(film.luma(5, x, y) - film.luma(5, x, y + lines)));
  }
  return largest;
}

const X264_FIELDS = [...X264, '-crf', '10', '-flags', '+ildct+ilme'];

const kinds: readonly (readonly [string, 'top' | 'bottom', string, readonly string[]])[] = [
  ['top first, H264', 'top', 'top.mp4', [...X264_FIELDS, '-x264opts', 'tff=1']],
  ['bottom first, H264', 'bottom', 'bottom.mkv', [...X264_FIELDS, '-x264opts', 'bff=1']],
  ['MPEG-2', 'top', 'mpeg2.mpg', ['-c:v', 'mpeg2video', '-flags', '+ildct+ilme', '-top', '1', '-q:v', '2']],
  [
    'MPEG-2 4:2:2',
    'top',
    'mpeg2.ts',
    ['-c:v', 'mpeg2video', '-pix_fmt', 'yuv422p', '-flags', '+ildct+ilme', '-top', '1', '-q:v', '2'],
  ],
  ['ProRes', 'top', 'prores.mov', ['-c:v', 'prores_ks', '-flags', '+ildct', '-top', '1']],
  ['MPEG-4', 'top', 'mpeg4.avi', ['-c:v', 'mpeg4', '-flags', '+ildct+ilme', '-top', '1', '-q:v', '2']],
  ['no flag at all, H264', 'top', 'unflagged.mp4', [...X264, '-crf', '10']],
  ['no flag at all, 4:2:2 of 10 bits', 'bottom', 'unflagged.mkv', ['-c:v', 'ffv1', '-pix_fmt', 'yuv422p10le']],
  ['the wrong field named', 'bottom', 'wrong.mp4', [...X264_FIELDS, '-x264opts', 'tff=1']],
];

it.each(kinds)('B %s: deinterlaced, and said in a line', async (_, order, name, codec) => {
  await make(name, ...bar(order), ...codec);
  const { film, result } = await bench.upscale(name);
  expect(film.interlaced).toBe('no');
  expect(film.times).toHaveLength(10);
  expect(comb(film)).toBeLessThan(100);
  expect(result.notices).toHaveLength(1);
  expect(result.notices[0]).toMatch(new RegExp(`is interlaced, ${order} field first: its pictures were deinterlaced`));
});

it('B DV: deinterlaced, bottom field first', async () => {
  await make('dv.avi', ...bar('bottom', '720x576'), '-c:v', 'dvvideo', '-frames:v', '6');
  const { film, result } = await bench.upscale('dv.avi', { model: { ...OPTIONS.model, scale: 1 } });
  expect(comb(film)).toBeLessThan(100);
  expect(result.notices[0]).toMatch(/bottom field first/);
});

it('B every model sees deinterlaced pictures', async () => {
  await make('model.mp4', ...bar('top'), ...X264_FIELDS, '-x264opts', 'tff=1');
  const { film, result } = await bench.upscale('model.mp4', { model: { ...OPTIONS.model, name: 'nano' } });
  expect(film.interlaced).toBe('no');
  expect(film.times).toHaveLength(10);
  expect(comb(film)).toBeLessThan(100);
  expect(result.notices).toHaveLength(1);
});

it.each(['top', 'bottom'] as const)('B --keep-interlaced: %s field first, fields scaled apart', async (order) => {
  await make('keep.mp4', ...bar(order), ...X264_FIELDS, '-x264opts', order === 'top' ? 'tff=1' : 'bff=1');
  const { film, result } = await bench.upscale('keep.mp4', { keepInterlaced: true });
  expect(film.interlaced).toBe(order);
  expect(film.times).toHaveLength(10);
  // A comb between the fields, straight lines within each.
  expect(comb(film)).toBeGreaterThan(150);
  expect(comb(film, 2)).toBeLessThan(60);
  expect(result.notices[0]).toMatch(/its fields were kept/);
});

it('B --keep-interlaced is refused by models, which work on whole pictures', async () => {
  const kept = bench.upscale('keep.mp4', { model: { ...OPTIONS.model, name: 'nano' }, keepInterlaced: true });
  await expect(kept).rejects.toMatchObject({ code: 'config.invalid' });
});

it.each([
  ['a drawn test picture', ['-f', 'lavfi', '-i', 'testsrc=size=160x96:rate=25:duration=1']],
  ['a small one', ['-f', 'lavfi', '-i', 'testsrc=size=64x48:rate=25:duration=1']],
  ['another one', ['-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=25:duration=1']],
  ['a moving bar', bar('none')],
  ['a still', ['-f', 'lavfi', '-i', 'smptebars=size=160x96:rate=25:duration=1']],
  ['noise', ['-f', 'lavfi', '-i', 'life=size=160x96:rate=25:ratio=0.5', '-t', '1']],
])('B %s is progressive and stays as it is', async (_, source) => {
  await make('progressive.mp4', ...source, ...X264);
  const { result } = await bench.upscale('progressive.mp4');
  expect(result.notices).toEqual([]);
});

it('B film on video (3:2, soft): the pictures as they are, the times as they are', async () => {
  await make('film.mpg', '-f', 'lavfi', '-i', 'testsrc2=size=96x64:rate=24000/1001:duration=1', '-c:v', 'mpeg2video');
  const { film, result } = await bench.upscale('film.mpg');
  expect(film.interlaced).toBe('no');
  expect(film.times).toHaveLength(24);
  expect(result.notices).toEqual([]);
});
