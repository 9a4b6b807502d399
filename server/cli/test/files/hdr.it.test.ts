import { AV_PKT_DATA_CONTENT_LIGHT_LEVEL, AV_PKT_DATA_MASTERING_DISPLAY_METADATA } from 'node-av/constants';
import { expect, it } from 'vitest';
import { OPTIONS, X264, openWorkbench } from './workbench.ts';

/** Row H of the table of faults: HDR, wide gamuts and more than 8 bits. */

const bench = openWorkbench();
const { make } = bench;

const GREY = ['-f', 'lavfi', '-i', 'color=0x808080:size=64x48:rate=25:duration=0.2'];
const NANO = { ...OPTIONS.model, name: 'nano' };
const MASTER = 'G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)';
const x265 = (transfer: string, more = ''): string[] => [
  ...['-pix_fmt', 'yuv420p10le', '-c:v', 'libx265', '-preset', 'ultrafast', '-color_primaries', 'bt2020'],
  ...['-color_trc', transfer, '-colorspace', 'bt2020nc', '-color_range', 'tv', '-x265-params'],
  `log-level=none:colorprim=bt2020:transfer=${transfer}:colormatrix=bt2020nc${more}`,
];

it.each(['.mp4', '.mkv'])(
  'H HDR10 stays HDR10 with --model resize (%s): 10 bits, tags, mastering data',
  async (ending) => {
    await make('pq.mp4', ...GREY, ...x265('smpte2084', `:master-display=${MASTER}:max-cll=1000,400`));
    const { film, result } = await bench.upscale('pq.mp4', { ending });
    expect(film.pixelFormat).toBe('yuv420p10le');
    expect([film.range, ...film.colour]).toEqual(['tv', 'bt2020nc', 'bt2020', 'smpte2084']);
    expect(result.notices).toEqual([]);
    const light = film.sideData.get(AV_PKT_DATA_CONTENT_LIGHT_LEVEL);
    expect([light?.readUInt32LE(0), light?.readUInt32LE(4)]).toEqual([1000, 400]);
    const mastering = film.sideData.get(AV_PKT_DATA_MASTERING_DISPLAY_METADATA);
    const ratio = (index: number): number =>
      (mastering?.readInt32LE(index * 8) ?? 0) / (mastering?.readInt32LE(index * 8 + 4) ?? 1);
    expect(ratio(0)).toBeCloseTo(0.68, 3);
    expect(ratio(2)).toBeCloseTo(0.265, 3);
    expect(ratio(9)).toBeCloseTo(1000, 0);
  },
);

it('H HDR10 as HEVC says the mastering data in its own headers too', async () => {
  await make('pq.mp4', ...GREY, ...x265('smpte2084', `:master-display=${MASTER}:max-cll=1000,400`));
  const { film } = await bench.upscale('pq.mp4', { codec: 'hevc' });
  expect(film.video.codec).toBe('hevc');
  expect(film.pixelFormat).toBe('yuv420p10le');
  expect(film.colour[2]).toBe('smpte2084');
});

it('H HLG stays HLG with --model resize', async () => {
  await make('hlg.mp4', ...GREY, ...x265('arib-std-b67'));
  const { film } = await bench.upscale('hlg.mp4');
  expect(film.pixelFormat).toBe('yuv420p10le');
  expect(film.colour).toEqual(['bt2020nc', 'bt2020', 'arib-std-b67']);
});

it.each([
  ['PQ', 'smpte2084'],
  ['HLG', 'arib-std-b67'],
])('H %s is tone-mapped for models of 8 bits, with a word', async (name, transfer) => {
  await make('hdr.mp4', ...GREY, ...x265(transfer));
  const { film, result } = await bench.upscale('hdr.mp4', { model: NANO });
  expect(film.pixelFormat).toBe('yuv420p');
  expect([film.range, ...film.colour]).toEqual(['tv', 'bt709', 'bt709', 'bt709']);
  expect(result.notices).toEqual([expect.stringContaining(`is HDR (${name}): it was tone-mapped to SDR`)]);
  // Half the code range is some 100 cd/m2: neither black nor burnt out, and still grey.
  const [red = 0, green = 0, blue = 0] = film.rgb(0, 0.5, 0.5);
  expect(green).toBeGreaterThan(60);
  expect(green).toBeLessThan(230);
  expect(Math.max(red, green, blue) - Math.min(red, green, blue)).toBeLessThan(8);
});

it('H ten bits of SDR stay ten with --model resize, and become eight for models, with a notice', async () => {
  await make('ten.mkv', ...GREY, '-c:v', 'ffv1', '-pix_fmt', 'yuv422p10le');
  const kept = await bench.upscale('ten.mkv');
  expect(kept.film.pixelFormat).toBe('yuv420p10le');
  expect(kept.film.rgb(0, 0.5, 0.5).every((level) => Math.abs(level - 128) <= 2)).toBe(true);
  expect(kept.result.notices).toEqual([]);
  const eight = await bench.upscale('ten.mkv', { model: NANO });
  expect(eight.film.pixelFormat).toBe('yuv420p');
  expect(eight.result.notices).toEqual([expect.stringContaining('has 10 bits a sample')]);
});

it.each([
  ['Display P3', ['bt709', 'smpte432', 'bt709']],
  ['sRGB', ['bt709', 'bt709', 'iec61966-2-1']],
  ['PAL', ['bt470bg', 'bt470bg', 'gamma28']],
  ['NTSC', ['smpte170m', 'smpte170m', 'smpte170m']],
  ['SMPTE 240M', ['smpte240m', 'smpte240m', 'smpte240m']],
  ['BT.2020 SDR', ['bt2020nc', 'bt2020', 'bt2020-10']],
])('H %s: its tags are kept', async (_, tags) => {
  const [matrix = '', primaries = '', transfer = ''] = tags;
  const said = ['-colorspace', matrix, '-color_primaries', primaries, '-color_trc', transfer, '-color_range', 'tv'];
  await make('tagged.mp4', ...GREY, ...X264, ...said);
  for (const ending of ['.mp4', '.mkv']) {
    const { film } = await bench.upscale('tagged.mp4', { ending });
    expect(film.colour).toEqual(tags);
    expect(film.range).toBe('tv');
  }
  const { film } = await bench.upscale('tagged.mp4', { model: NANO });
  expect(film.colour).toEqual(tags);
});
