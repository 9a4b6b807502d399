import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  cmykJpeg,
  exif,
  gifFile,
  jpegWithExif,
  palettePng,
  pngFile,
  tiffFile,
  webpWithExif,
} from '../../../../testing/picture-files.ts';
import { readFilm, runFfmpeg, type Film } from '../../../../testing/film.ts';
import { upscaleFile } from '../../upscale-file.ts';
import { OPTIONS, openWorkbench } from './workbench.ts';

/** Pictures of kinds that public reports about other upscalers name (docs/tried-reports.md). */

const bench = openWorkbench();
const { at, make } = bench;
const put = (name: string, data: Buffer): void => writeFileSync(at(name), data);

const COLOURS: Readonly<Record<string, readonly [number, number, number]>> = {
  red: [255, 0, 0],
  green: [0, 255, 0],
  blue: [0, 0, 255],
  white: [255, 255, 255],
};
/** A colour in each quarter, as the file stores them: red and green above blue and white. */
const quarters = (x: number, y: number): readonly [number, number, number] => {
  const [above, below] = x < 32 ? [COLOURS.red, COLOURS.blue] : [COLOURS.green, COLOURS.white];
  return (y < 16 ? above : below) ?? [0, 0, 0];
};

function nameAt(film: Film, x: number, y: number): string {
  const seen = film.rgb(0, x, y);
  const near = ([, colour]: readonly [string, readonly number[]]): boolean =>
    colour.every((value, index) => Math.abs(value - (seen[index] ?? -99)) < 24);
  return Object.entries(COLOURS).find(near)?.[0] ?? seen.join();
}

describe('a camera stored the picture on its side', () => {
  const makers: Readonly<Record<string, (orientation: number) => Promise<void> | void>> = {
    png: (orientation) => put('turned.png', pngFile(64, 32, quarters, { chunks: [['eXIf', exif(orientation, 'MM')]] })),
    tif: (orientation) => put('turned.tif', tiffFile(64, 32, quarters, orientation)),
    jpg: async (orientation) => {
      put('plain.png', pngFile(64, 32, quarters));
      await make('plain.jpg', '-i', at('plain.png'), '-pix_fmt', 'yuvj422p', '-q:v', '2');
      put('turned.jpg', jpegWithExif(readFileSync(at('plain.jpg')), exif(orientation, 'II')));
    },
    webp: async (orientation) => {
      put('plain.png', pngFile(64, 32, quarters));
      await make('plain.webp', '-i', at('plain.png'), '-c:v', 'libwebp', '-pix_fmt', 'yuv420p', '-quality', '95');
      put('turned.webp', webpWithExif(readFileSync(at('plain.webp')), 64, 32, exif(orientation, 'II')));
    },
  };

  describe.each(Object.keys(makers))('%s', (ending) => {
    it.each([
      [1, 'red green blue white'],
      [2, 'green red white blue'],
      [3, 'white blue green red'],
      [4, 'blue white red green'],
      [5, 'red blue green white'],
      [6, 'blue red white green'],
      [7, 'white green blue red'],
      [8, 'green white red blue'],
      [9, 'red green blue white'],
    ])('orientation %i', async (orientation, expected) => {
      await makers[ending]?.(orientation);
      const { film } = await bench.upscale(`turned.${ending}`, { ending: '.png' });
      expect([film.width, film.height]).toEqual(orientation >= 5 && orientation <= 8 ? [64, 128] : [128, 64]);
      const corners = [
        [0.2, 0.2],
        [0.8, 0.2],
        [0.2, 0.8],
        [0.8, 0.8],
      ] as const;
      expect(corners.map(([x, y]) => nameAt(film, x, y)).join(' ')).toBe(expected);
    });
  });

  it('in a folder, and in a film of pictures', async () => {
    mkdirSync(at('camera'));
    put('camera/a.png', pngFile(64, 32, quarters, { chunks: [['eXIf', exif(6, 'MM')]] }));
    put(
      'camera/b.png',
      pngFile(32, 64, (x, y) => quarters(y, 31 - x)),
    );
    const { film } = await bench.upscale('camera');
    expect([film.width, film.height, film.times.length]).toEqual([64, 128, 2]);
    expect([nameAt(film, 0.2, 0.2), nameAt(film, 0.8, 0.8)]).toEqual(['blue', 'green']);
  });

  it('a file that ends within its tags is judged by its decoder', async () => {
    const whole = pngFile(64, 32, quarters, { chunks: [['eXIf', exif(6, 'MM')]] });
    put('cut.png', whole.subarray(0, 50));
    await expect(bench.upscale('cut.png', { ending: '.png' })).rejects.toMatchObject({ code: 'file.unreadable' });
  });
});

describe('transparency', () => {
  const half = (x: number): number => (x < 16 ? 0 : 255);
  it.each([
    ['RGBA', 'png', pngFile(32, 32, (x) => [200, 0, 0, half(x)]), true],
    ['RGBA that is opaque', 'png', pngFile(32, 32, () => [200, 0, 0, 255]), false],
    ['grey and alpha', 'png', pngFile(32, 32, (x) => [200, half(x)]), true],
    ['RGBA of 16 bits', 'png', pngFile(32, 32, (x) => [9, 9, 9, x === 31 ? 65000 : 65535], { depth: 16 }), true],
    ['RGBA of 16 bits that is opaque', 'png', pngFile(32, 32, () => [9, 9, 9, 65535], { depth: 16 }), false],
    [
      'a palette',
      'png',
      palettePng(
        32,
        32,
        [
          [255, 0, 0, 255],
          [0, 0, 0, 0],
        ],
        (x) => x % 2,
      ),
      true,
    ],
    [
      'a palette whose transparent colour is not used',
      'png',
      palettePng(
        32,
        32,
        [
          [255, 0, 0, 255],
          [0, 0, 0, 0],
        ],
        () => 0,
      ),
      false,
    ],
    ['a GIF', 'gif', gifFile([10, 10], true), true],
    ['a GIF that is opaque', 'gif', gifFile([10, 10], false), false],
    ['CMYK', 'jpg', cmykJpeg([255, 0, 0, 255]), false],
  ] as const)('%s (.%s): said when it is there', async (_, ending, data, expected) => {
    put(`alpha.${ending}`, data);
    const { result } = await bench.run(`alpha.${ending}`);
    expect(result.notices.filter((words) => words.includes('has transparency'))).toHaveLength(Number(expected));
  });

  it('in a folder: one line for all', async () => {
    mkdirSync(at('logos'));
    for (const name of ['a', 'b'])
      put(
        `logos/${name}.png`,
        pngFile(32, 32, (x) => [200, 0, 0, half(x)]),
      );
    put(
      'logos/c.png',
      pngFile(32, 32, () => [200, 0, 0, 255]),
    );
    const { notices } = await upscaleFile(at('logos'), at('logos-out/'), OPTIONS);
    expect(notices).toEqual([
      `${at('logos/a.png')} has transparency: it was left out. So it is with 2 of the 3 pictures.`,
    ]);
  });
});

it('the first bytes say what a picture is, not its ending', async () => {
  put('photo.png', cmykJpeg([255, 0, 0, 255]));
  put(
    'logo.jpg',
    pngFile(32, 32, () => [255, 0, 0]),
  );
  for (const name of ['photo.png', 'logo.jpg']) {
    const { film } = await bench.upscale(name, { ending: '.png' });
    expect(nameAt(film, 0.5, 0.5)).toBe('red');
  }
});

it('CMYK: red ink is red', async () => {
  put('ink.jpg', cmykJpeg([255, 0, 0, 255]));
  const { film } = await bench.upscale('ink.jpg', { ending: '.png' });
  expect(nameAt(film, 0.5, 0.5)).toBe('red');
});

describe('pictures that move', () => {
  const film = ['-f', 'lavfi', '-i', 'testsrc=size=64x48:rate=10:duration=0.3'];

  it.each([
    ['png', ['-f', 'apng']],
    ['webp', ['-c:v', 'libwebp_anim']],
  ])('.%s: every frame', async (ending, codec) => {
    await make(`moves.${ending}`, ...film, ...codec);
    const { film: result } = await bench.upscale(`moves.${ending}`);
    expect(result.times).toHaveLength(3);
    expect(result.times[2]).toBeCloseTo(0.2, 2);
    await expect(bench.run(`moves.${ending}`, { ending: '.png' })).rejects.toThrow(
      /takes one picture, and .* has several/,
    );
  });

  it('in a folder of pictures: the first frame, with a notice', async () => {
    mkdirSync(at('moving'));
    await make('moving/a.png', ...film, '-f', 'apng');
    const { notices } = await upscaleFile(at('moving'), at('moving-out/'), OPTIONS);
    expect(notices).toEqual([`${at('moving/a.png')} moves: its first picture was taken.`]);
  });

  it('a GIF keeps the time of each frame, the last one too', async () => {
    put('times.gif', gifFile([10, 50, 20, 100], false));
    const { film: result } = await bench.upscale('times.gif');
    expect(result.times.map((time) => Math.round(100 * time))).toEqual([0, 10, 60, 80]);
    expect(result.video.end).toBeCloseTo(1.8, 2);
  });

  it('a GIF of one frame is a picture, one of several is not', async () => {
    put('one.gif', gifFile([10], false));
    const { result } = await bench.run('one.gif', { ending: '.png' });
    expect(result).toMatchObject({ frames: 1, width: 64, height: 64 });
    put('two.gif', gifFile([10, 10], false));
    await expect(bench.run('two.gif', { ending: '.png' })).rejects.toThrow(
      /takes one picture, and .*two\.gif has several/,
    );
  });
});

describe('16 bits a sample', () => {
  const ramp = pngFile(64, 32, (x) => [20_000 + 20 * x, 20_000 + 20 * x, 20_000 + 20 * x], { depth: 16 });
  const levels = async (file: string): Promise<number> => {
    await runFfmpeg('-i', file, '-f', 'rawvideo', '-pix_fmt', 'rgb48le', at('levels.raw'));
    const data = readFileSync(at('levels.raw'));
    return new Set(Array.from({ length: data.length / 6 }, (_, index) => data.readUInt16LE(6 * index))).size;
  };

  it.each(['.png', '.tif'])('%s keeps ten of them, and says so', async (ending) => {
    put('deep.png', ramp);
    const { result, output } = await bench.run('deep.png', { ending });
    expect(result.notices).toEqual([`${at('deep.png')} has 16 bits a sample: 10 were kept.`]);
    expect((await readFilm(output)).pixelFormat).toMatch(/^rgb48/);
    // 1260 of 65536 are five steps of eight bits.
    expect(await levels(output)).toBeGreaterThan(12);
  });

  it('a folder: the depth of its first picture for all', async () => {
    mkdirSync(at('depths'));
    put('depths/a.png', ramp);
    put(
      'depths/b.png',
      pngFile(64, 32, (x) => [x, x, x]),
    );
    const { film } = await bench.upscale('depths');
    expect(film.pixelFormat).toBe('yuv420p10le');
    expect(film.times).toHaveLength(2);
    put(
      'depths/0.png',
      pngFile(64, 32, (x) => [x, x, x]),
    );
    const { result, film: shallow } = await bench.upscale('depths');
    expect(shallow.pixelFormat).toBe('yuv420p');
    expect(result.notices).toEqual([
      `${at('depths/a.png')} has 16 bits a sample: 8 were kept, as the first picture has no more.`,
    ]);
  });
});

it.each([
  [1, 1],
  [3, 600],
  [600, 3],
])('a picture of %ix%i', async (width, height) => {
  put(
    'thin.png',
    pngFile(width, height, () => [255, 0, 0]),
  );
  const { film } = await bench.upscale('thin.png', { ending: '.png' });
  expect(nameAt(film, 0.5, 0.5)).toBe('red');
});

it('G a JPEG cut off within its picture: what is there, and a warning; a whole one has none', async () => {
  await make('plain.jpg', '-f', 'lavfi', '-i', 'testsrc=size=320x240', '-frames:v', '1', '-q:v', '2');
  // The preview of a camera has an end marker of its own.
  const preview = Buffer.concat([exif(1, 'II'), readFileSync(at('plain.jpg'))]);
  const whole = jpegWithExif(readFileSync(at('plain.jpg')), preview);
  put('whole.jpg', whole);
  put('cut.jpg', whole.subarray(0, Math.floor(0.7 * whole.length)));
  expect((await bench.run('whole.jpg', { ending: '.png' })).result.notices).toEqual([]);
  expect((await bench.run('cut.jpg', { ending: '.png' })).result.notices).toEqual([
    `${at('cut.jpg')} is cut off: the end of its picture is missing. What is there was upscaled.`,
  ]);
});
