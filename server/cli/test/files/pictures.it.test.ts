import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { AppError } from '../../../errors.ts';
import { readFilm, runFfmpeg } from '../../../../testing/film.ts';
import { upscaleFile } from '../../upscale-file.ts';
import { OPTIONS, PICTURES, X264, openWorkbench, tone } from './workbench.ts';

/** Rows M, N, O and U of the table of faults: names and endings of results, pictures in and out. */

const bench = openWorkbench();
const { at, make } = bench;
const upscale = (input: string, output: string, options = {}) =>
  upscaleFile(at(input), at(output), { ...OPTIONS, ...options });
const hidden = (): string[] => readdirSync(at('.')).filter((name) => name.startsWith('.'));

async function refusal(input: string, output: string): Promise<AppError> {
  const error: unknown = await upscale(input, output).catch((thrown: unknown) => thrown);
  expect(hidden()).toEqual([]);
  if (error instanceof AppError) return error;
  throw new Error(`${output} was not refused`);
}

beforeAll(async () => {
  await make('film.mp4', ...PICTURES, ...tone(0.4), ...X264, '-c:a', 'aac');
  await make('red.png', '-f', 'lavfi', '-i', 'color=red:size=64x48', '-frames:v', '1');
  for (const name of ['numbered', 'folder', 'mixed']) mkdirSync(at(name));
  await runFfmpeg(...PICTURES, at('numbered/in%03d.png'));
  await runFfmpeg(...PICTURES, '-frames:v', '3', at('folder/holiday %d.jpg'));
  await make('mixed/a.png', '-f', 'lavfi', '-i', 'color=red:size=64x48', '-frames:v', '1');
  await make('mixed/b.png', '-f', 'lavfi', '-i', 'color=blue:size=32x32', '-frames:v', '1');
});

describe('N endings of results', () => {
  it.each(['.png', '.jpg', '.JPEG', '.webp', '.bmp', '.tif'])(
    'one picture to %s: a picture of that format',
    async (ending) => {
      const result = await upscale('red.png', `one${ending}`);
      expect(result).toMatchObject({ frames: 1, width: 128, height: 96 });
      const film = await readFilm(at(`one${ending}`));
      expect([film.width, film.height, film.times.length]).toEqual([128, 96, 1]);
      const [red = 0, green = 0, blue = 0] = film.rgb(0, 0.5, 0.5);
      expect(red).toBeGreaterThan(248);
      expect(Math.max(green, blue)).toBeLessThan(8);
    },
  );

  it('the bytes are those of the ending', async () => {
    const begins: Readonly<Record<string, string>> = { png: '\x89PNG', jpg: '\xff\xd8\xff', webp: 'RIFF', bmp: 'BM' };
    for (const [ending, magic] of Object.entries(begins)) {
      await upscale('red.png', `magic.${ending}`);
      expect(
        readFileSync(at(`magic.${ending}`))
          .subarray(0, magic.length)
          .toString('latin1'),
      ).toBe(magic);
    }
  });

  it.each(['x.yuv', 'x.m3u8', 'x.avi', 'x', 'x.h264', 'x.gif'])(
    '%s is refused with what is possible',
    async (output) => {
      const error = await refusal('film.mp4', output);
      expect(error).toMatchObject({
        code: 'file.unwritable',
        remedy: expect.stringMatching(/\.mp4.*\.mkv.*\.png/) as string,
      });
    },
  );

  it('a film to one picture is refused, with the numbered name that works', async () => {
    expect(await refusal('film.mp4', 'x.png')).toMatchObject({
      message: `${at('x.png')} takes one picture, and ${at('film.mp4')} has several.`,
      remedy: expect.stringMatching(/x%05d\.png/) as string,
    });
  });

  it('one picture to a film is a film of one picture', async () => {
    const { film } = await bench.upscale('red.png');
    expect(film.times).toEqual([0]);
  });
});

describe('pictures in and out', () => {
  it('a film to numbered pictures, and these to a film again', async () => {
    mkdirSync(at('out'));
    const result = await upscale('film.mp4', 'out/p%03d.png');
    expect(result).toMatchObject({ frames: 10, notices: ['Pictures hold nothing else: 1 other tracks are left out.'] });
    expect(readdirSync(at('out'))).toEqual(
      Array.from({ length: 10 }, (_, n) => `p${String(n + 1).padStart(3, '0')}.png`),
    );
    const { film } = await bench.upscale('out/p%03d.png', { rate: 24 });
    expect(film.times).toHaveLength(10);
    expect(film.times[9]).toBeCloseTo(9 / 24, 3);
    expect([film.width, film.height]).toEqual([256, 192]);
  });

  it('numbered pictures keep their numbers', async () => {
    mkdirSync(at('some'));
    for (const number of ['008', '009', '010']) writeFileSync(at(`some/s${number}.png`), readFileSync(at('red.png')));
    await upscale('some/s%03d.png', 'some/t%d.jpg');
    expect(
      readdirSync(at('some'))
        .filter((name) => name.startsWith('t'))
        .sort(),
    ).toEqual(['t10.jpg', 't8.jpg', 't9.jpg']);
  });

  it('a folder to a folder: the same names, in the order that people count', async () => {
    await upscale('folder', 'folder-out/');
    expect(readdirSync(at('folder-out')).sort()).toEqual(['holiday 1.jpg', 'holiday 2.jpg', 'holiday 3.jpg']);
    expect((await readFilm(at('folder-out/holiday 3.jpg'))).width).toBe(128);
  });

  it('pictures of several sizes become pictures, but no film', async () => {
    await upscale('mixed', 'mixed-out/');
    const sizes = await Promise.all(['a', 'b'].map((name) => readFilm(at(`mixed-out/${name}.png`))));
    expect(sizes.map(({ width }) => width)).toEqual([128, 64]);
    expect((await refusal('mixed', 'x.mp4')).message).toMatch(/b\.png is 32x32, .*a\.png 64x48/);
  });

  it('never replaces an input, and other pictures only with --overwrite', async () => {
    expect((await refusal('numbered/in%03d.png', 'numbered/in%03d.png')).message).toMatch(
      /one of the inputs, which are never/,
    );
    expect((await refusal('folder', 'folder/')).message).toMatch(/one of the inputs/);
    symlinkSync('folder', at('link'));
    expect((await refusal('folder', 'link/')).message).toMatch(/one of the inputs/);
    mkdirSync(at('there'));
    writeFileSync(at('there/p005.png'), 'precious');
    await expect(upscale('film.mp4', 'there/p%03d.png', { overwrite: false })).rejects.toThrow(
      /p005\.png exists already/,
    );
    expect(readdirSync(at('there'))).toEqual(['p005.png']);
  });

  it.each([
    ['nothing%03d.png', 'x%03d.png', /no picture has such a name/],
    ['out-empty', 'x.mp4', /a folder without pictures/],
    ['film.mp4', 'nowhere/p%03d.png', /the folder .*nowhere does not exist/],
  ])('%s to %s is refused', async (input, output, message) => {
    mkdirSync(at('out-empty'), { recursive: true });
    expect((await refusal(input, output)).message).toMatch(message);
  });
});

describe('M names', () => {
  it.each([
    '2024-05-04T10:11:12.mp4',
    '-dash.mp4',
    '100%d.mp4',
    'new\nline.mp4',
    'ünï cödé 漢字.mp4',
    'a"b<c>|?*.mp4',
    'concat:x.mp4',
    'CON.mp4',
    `${'n'.repeat(248)}.mp4`,
  ])('%j as input and as result', async (name) => {
    writeFileSync(at(name), readFileSync(at('film.mp4')));
    mkdirSync(at('names'), { recursive: true });
    await upscale(name, `names/${name}`);
    expect((await readFilm(at(`names/${name}`))).times).toHaveLength(10);
  });

  it('relative names, too', async () => {
    const before = process.cwd();
    process.chdir(at('names'));
    try {
      for (const name of ['2024-05-04T10:11:12.mp4', '-dash.mp4', 'concat:x.mp4'])
        await upscaleFile(name, `again ${name}`, { ...OPTIONS });
      expect(readdirSync('.').filter((name) => name.startsWith('again'))).toHaveLength(3);
    } finally {
      process.chdir(before);
    }
  });
});

describe('--trim', () => {
  it('cuts pictures and sound, and the clock starts at 0 again', async () => {
    await make(
      'long.mp4',
      '-f',
      'lavfi',
      '-i',
      'testsrc=size=64x48:rate=25:duration=2',
      ...tone(2),
      ...X264,
      '-c:a',
      'aac',
    );
    const { result, film } = await bench.upscale('long.mp4', { trim: { startSeconds: 0.4, endSeconds: 1 } });
    expect(result.frames).toBe(15);
    expect(film.times[0]).toBe(0);
    expect(film.times.at(-1)).toBeCloseTo(0.56, 3);
    expect(film.audio[0]?.start).toBeCloseTo(0, 1);
    expect(film.audio[0]?.end).toBeCloseTo(0.6, 1);
    const { film: rest } = await bench.upscale('long.mp4', { trim: { startSeconds: 1.6, endSeconds: null } });
    expect(rest.times).toHaveLength(10);
  });

  it('beyond the end is refused', async () => {
    const late = upscale('film.mp4', 'late.mp4', { trim: { startSeconds: 100, endSeconds: 200 } });
    await expect(late).rejects.toThrow(/film\.mp4 cannot be read as a video: it has no picture between 100 s/);
    expect(hidden()).toEqual([]);
  });
});

it('U a scale that the model does not make gets a notice', async () => {
  await make('small.mp4', ...PICTURES, ...X264);
  const model = { ...OPTIONS.model, scale: 3 };
  const asked = await upscale('small.mp4', 'asked.mp4', { model, scaleAsked: true });
  expect(asked).toMatchObject({ width: 192, notices: [] });
  // The result's size is bounded.
  await make('wide.mp4', '-f', 'lavfi', '-i', 'color=gray:size=4096x64:rate=25:duration=0.04', ...X264);
  const bounded = await upscale('wide.mp4', 'bounded.mp4', { model: { ...OPTIONS.model, scale: 8 }, scaleAsked: true });
  if (bounded.width < 8 * 4096) {
    expect(bounded.notices.join()).toMatch(
      /--scale 8 was asked for; the result is [\d.]+ times as large, .* of 4096x64/,
    );
  }
});
