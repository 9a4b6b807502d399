import { readFileSync, writeFileSync } from 'node:fs';
import { AV_PKT_DATA_DOVI_CONF, AV_PKT_DATA_FRAME_CROPPING, AV_PKT_DATA_SPHERICAL } from 'node-av/constants';
import { CodecParameters } from 'node-av/lib';
import { beforeAll, expect, it } from 'vitest';
import { copyWithSideData } from '../../../../testing/side-data.ts';
import { dolbyVisionNotice } from '../../../codec/picture-extras.ts';
import type { Progress } from '../../progress.ts';
import { PICTURES, X264, openWorkbench, pictures, tone } from './workbench.ts';

/** What a file says of its pictures beside their samples, and tracks that few files have: applied, kept or named. */

const bench = openWorkbench();
const { at, make } = bench;

beforeAll(() => make('plain.mkv', ...PICTURES, ...X264));

it.each(['mkv', 'mp4'])("what a .%s's container hides of its pictures stays hidden", async (ending) => {
  // Blue, with red around it; uint32 top, bottom, left, right.
  const blue = ['-f', 'lavfi', '-i', 'color=blue:size=48x32:rate=25:duration=0.4', '-vf', 'pad=64:48:16:8:red'];
  await make('framed.mkv', ...blue, ...X264, '-crf', '0');
  const cropping = Buffer.from(Uint32Array.of(8, 8, 16, 0).buffer);
  const muxer = ending === 'mkv' ? 'matroska' : 'mp4';
  const sideData = new Map([[AV_PKT_DATA_FRAME_CROPPING, cropping]]);
  await copyWithSideData(at('framed.mkv'), at(`cropped.${ending}`), muxer, sideData);
  const { film } = await bench.upscale(`cropped.${ending}`);
  expect([film.width, film.height, film.times.length]).toEqual([96, 64, 10]);
  for (const [x, y] of [
    [0.05, 0.05],
    [0.5, 0.05],
    [0.95, 0.95],
  ] as const) {
    const [red = 255, , colour = 0] = film.rgb(9, x, y);
    expect([red < 30, colour > 225]).toEqual([true, true]);
  }
});

it('360 degrees stay so, in .mkv and in .mp4', async () => {
  const equirectangular = Buffer.alloc(36);
  await copyWithSideData(
    at('plain.mkv'),
    at('around.mkv'),
    'matroska',
    new Map([[AV_PKT_DATA_SPHERICAL, equirectangular]]),
  );
  for (const ending of ['.mkv', '.mp4']) {
    const { film } = await bench.upscale('around.mkv', { ending });
    expect(film.sideData.get(AV_PKT_DATA_SPHERICAL)?.readUInt32LE(0)).toBe(0);
  }
});

it('Dolby Vision is named: pictures that other decoders show wrong, and pictures that they show without it', async () => {
  const record = (profile: number, compatibility: number): Buffer =>
    Buffer.of(1, 0, profile, 1, 1, 0, 1, compatibility, 0);
  await make('hevc.mkv', ...PICTURES, '-c:v', 'libx265', '-x265-params', 'log-level=none', '-pix_fmt', 'yuv420p10le');
  await copyWithSideData(at('hevc.mkv'), at('dolby.mkv'), 'matroska', new Map([[AV_PKT_DATA_DOVI_CONF, record(5, 0)]]));
  const { result } = await bench.upscale('dolby.mkv');
  expect(result.notices).toEqual([
    expect.stringMatching(/dolby\.mkv is Dolby Vision, profile 5: its pictures have colours of their own/),
  ]);
  const parameters = new CodecParameters();
  parameters.alloc();
  expect(dolbyVisionNotice('x.mp4', parameters)).toBeUndefined();
  parameters.addCodedSideData(AV_PKT_DATA_DOVI_CONF, record(8, 1));
  expect(dolbyVisionNotice('x.mp4', parameters)).toBe(
    "x.mp4 is Dolby Vision, profile 8: its pictures were upscaled without Dolby's data, as players without Dolby Vision show them.",
  );
  parameters.free();
});

it('captions within the pictures are named, once, at the start', async () => {
  await make('plain.h264', ...PICTURES, ...X264, '-x264-params', 'aud=0');
  writeFileSync(at('captions.h264'), withCaptions(readFileSync(at('plain.h264'))));
  const shown: string[] = [];
  const progress = (): Progress => ({
    update: () => void shown.push('a frame is written'),
    kept: () => undefined,
    say: (words) => void shown.push(words),
    finish: () => undefined,
    stop: () => undefined,
  });
  const { result } = await bench.upscale('captions.h264', { progress });
  const words = `${at('captions.h264')} has closed captions (CEA-608, CEA-708) within its pictures: left out.`;
  expect(result).toMatchObject({ frames: 10, damagedPackets: 0, notices: [words], said: [words] });
  // Not after hours of work.
  expect(shown).toEqual([words, ...Array.from({ length: 10 }, () => 'a frame is written')]);
});

it('a picture that stands for three hours stands for three hours', async () => {
  const gap = ['-vf', "setpts='(N/25+if(gt(N,24),10800,0))/TB'", '-vsync', 'vfr', '-r', '1000'];
  await make('gap.mkv', ...pictures(2), ...gap, ...X264);
  for (const ending of ['.mp4', '.mkv', '.ts']) {
    const { film } = await bench.upscale('gap.mkv', { ending });
    expect(film.times).toHaveLength(50);
    expect(Math.abs((film.times[49] ?? 0) - (film.times[0] ?? 0) - 10_801.96)).toBeLessThan(0.01);
  }
});

it.each([
  ['within its only frame', 'duration=1:rate=1', 0.6, 1],
  ['within a later frame', 'duration=1:rate=5', 0.5, 2],
])(
  'a GIF cut %s: what is there, and a warning; a whole one, and one without a trailer, have none',
  async (_, time, share, least) => {
    await make('whole.gif', '-f', 'lavfi', '-i', `testsrc=size=64x48:${time}`);
    const whole = readFileSync(at('whole.gif'));
    writeFileSync(at('cut.gif'), whole.subarray(0, Math.floor(whole.length * share)));
    writeFileSync(at('no-trailer.gif'), whole.subarray(0, -1));
    const { result } = await bench.upscale('cut.gif');
    expect(result.frames).toBeGreaterThanOrEqual(least);
    expect(result.notices).toEqual([expect.stringMatching(/cut\.gif is cut off: the end of a frame is missing\./)]);
    for (const name of ['whole.gif', 'no-trailer.gif']) expect((await bench.upscale(name)).result.notices).toEqual([]);
  },
);

it('Blu-ray subtitles stay in .mkv and .ts, and are named for .mp4', async () => {
  writeFileSync(at('subtitles.sup'), bluRaySubtitles());
  const inputs = ['-i', at('subtitles.sup'), '-map', '0:v', '-map', '1:a', '-map', '2:s'];
  await make('disc.mkv', ...PICTURES, ...tone(0.4), ...inputs, ...X264, '-c:a', 'ac3', '-c:s', 'copy');
  for (const ending of ['.mkv', '.ts'])
    expect((await bench.run('disc.mkv', { ending })).result.notices, ending).toEqual([]);
  expect((await bench.run('disc.mkv')).result.notices).toEqual([
    'Left out, as .mp4 does not take it (.mkv takes the most): subtitles 2 (hdmv_pgs_subtitle).',
  ]);
});

/** A message in front of each picture: SEI, user data of ATSC A/53 part 4 with one pair of CEA-608 (ITU-T H.264 section D.1.6). */
function withCaptions(stream: Buffer): Buffer {
  const data = [0xb5, 0x00, 0x31, ...Buffer.from('GA94'), 0x03, 0x41, 0xff, 0xfc, 0x94, 0x2c, 0xff];
  const message = Buffer.from([0, 0, 0, 1, 6, 4, data.length, ...data, 0x80]);
  const parts: Buffer[] = [];
  let begin = 0;
  for (let start = stream.indexOf('000001', 0, 'hex'); start >= 0; start = stream.indexOf('000001', start + 3, 'hex')) {
    const type = (stream[start + 3] ?? 0) & 31;
    // The first slice of a picture: first_mb_in_slice is 0, one bit that is set.
    if ((type !== 1 && type !== 5) || ((stream[start + 4] ?? 0) & 0x80) === 0) continue;
    const from = stream[start - 1] === 0 ? start - 1 : start;
    parts.push(stream.subarray(begin, from), message);
    begin = from;
  }
  return Buffer.concat([...parts, stream.subarray(begin)]);
}

/** One subtitle of 8x2 pixels, from 0.08 to 0.24 s, as Blu-ray discs have them (PG segments: composition, windows, palette, object, end). */
function bluRaySubtitles(): Buffer {
  const segment = (ticks: number, type: number, ...bytes: number[]): Buffer => {
    const head = Buffer.alloc(13);
    head.write('PG');
    head.writeUInt32BE(ticks, 2);
    head.writeUInt8(type, 10);
    head.writeUInt16BE(bytes.length, 11);
    return Buffer.concat([head, Buffer.from(bytes)]);
  };
  const composition = (ticks: number, number: number, state: number, ...objects: number[]): Buffer =>
    segment(ticks, 0x16, 0, 64, 0, 48, 0x10, 0, number, state, 0, 0, objects.length / 8, ...objects);
  const window = (ticks: number): Buffer => segment(ticks, 0x17, 1, 0, 0, 8, 0, 30, 0, 8, 0, 2);
  // Two rows of eight pixels of colour 1, each behind its length, and the ends of the rows.
  const rows = [0x00, 0x88, 0x01, 0x00, 0x00, 0x00, 0x88, 0x01, 0x00, 0x00];
  const [shown, gone] = [7200, 21_600];
  return Buffer.concat([
    composition(shown, 0, 0x80, 0, 0, 0, 0, 0, 8, 0, 30),
    window(shown),
    segment(shown, 0x14, 0, 0, 1, 235, 128, 128, 255),
    segment(shown, 0x15, 0, 0, 0, 0xc0, 0, 0, rows.length + 4, 0, 8, 0, 2, ...rows),
    segment(shown, 0x80),
    composition(gone, 1, 0x00),
    window(gone),
    segment(gone, 0x80),
  ]);
}
