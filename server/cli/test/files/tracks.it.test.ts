import { readFileSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { readTracks, type FilmTrack } from '../../../../testing/film-tracks.ts';
import { PICTURES, X264, openWorkbench, tone, type Row } from './workbench.ts';

/** Rows I, J and K of the table of faults: what lies beside the pictures is kept, converted with a word, or named. */

const bench = openWorkbench();
const { at, make } = bench;

const SRT = '1\n00:00:00,080 --> 00:00:00,200\nHello <i>there</i>\n\n2\n00:00:00,240 --> 00:00:00,360\nA & B\n';
const ASS = `[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.08,0:00:00.20,Default,,0,0,0,,{\\\\pos(1,2)}Styled, {\\\\i1}slanted{\\\\i0}\\\\Nsecond line
`;

async function tracksOf(
  input: string,
  options: Row = {},
): Promise<{
  readonly tracks: readonly FilmTrack[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly notices: readonly string[];
  readonly damagedPackets: number;
}> {
  const { result, output } = await bench.run(input, options);
  return { ...(await readTracks(output)), notices: result.notices, damagedPackets: result.damagedPackets };
}

const timeOf = ({ start, duration }: FilmTrack['packets'][number]): number[] => [start, duration];
/** As ffmpeg wrote them: behind the sound's priming. */
const cueStarts = async (): Promise<number[]> =>
  (await readTracks(at('tracks.mkv'))).tracks[3]?.packets.map(({ start }) => start) ?? [];

beforeAll(async () => {
  writeFileSync(at('text.srt'), SRT);
  writeFileSync(at('text.ass'), ASS.replaceAll('\\\\', '\\'));
  writeFileSync(at('font.ttf'), 'not really a font');
  const inputs = ['-i', at('text.srt'), '-i', at('text.ass')];
  const maps = ['-map', '0:v', '-map', '1:a', '-map', '1:a', '-map', '2', '-map', '3'];
  await make(
    'tracks.mkv',
    ...[...PICTURES, ...tone(0.4), ...inputs, ...maps, ...X264, '-c:a:0', 'aac', '-c:a:1', 'ac3', '-c:s', 'copy'],
    ...['-metadata', 'title=My Holiday', '-metadata', 'date=2024-05-04', '-metadata:s:a:0', 'language=ger'],
    ...['-metadata:s:a:1', 'language=eng', '-metadata:s:a:1', 'title=Commentary', '-metadata:s:s:0', 'language=fre'],
    ...['-disposition:a:0', '0', '-disposition:a:1', 'default', '-disposition:s:0', 'forced', '-disposition:s:1', '0'],
    ...['-attach', at('font.ttf'), '-metadata:s:t', 'mimetype=application/x-truetype-font'],
  );
}, 60_000);

describe('I subtitles, languages, flags, description', () => {
  it('.mkv takes all of it', async () => {
    const { tracks, metadata, notices } = await tracksOf('tracks.mkv', { ending: '.mkv' });
    expect(notices).toEqual([]);
    expect(tracks.map(({ codec, language }) => [codec, language])).toEqual([
      ['h264', undefined],
      ['aac', 'ger'],
      ['ac3', 'eng'],
      ['subrip', 'fre'],
      ['ass', undefined],
      ['ttf', undefined],
    ]);
    expect(tracks.map(({ isDefault }) => isDefault).slice(1, 3)).toEqual([false, true]);
    expect(tracks[3]?.isForced).toBe(true);
    expect(tracks[2]?.metadata['title']).toBe('Commentary');
    expect(metadata).toMatchObject({ title: 'My Holiday', DATE: '2024-05-04' });
    expect(tracks[5]?.extradata?.toString()).toBe('not really a font');
    const before = await readTracks(at('tracks.mkv'));
    for (const index of [1, 2, 3, 4]) {
      expect(tracks[index]?.packets.map(({ data }) => data)).toEqual(
        before.tracks[index]?.packets.map(({ data }) => data),
      );
    }
    for (const index of [3, 4]) {
      expect(tracks[index]?.packets.map(timeOf)).toEqual(before.tracks[index]?.packets.map(timeOf));
    }
  });

  it('.mp4 gets text subtitles as mov_text; the font is named', async () => {
    const { tracks, metadata, notices } = await tracksOf('tracks.mkv');
    expect(notices).toEqual(['Left out, as .mp4 does not take it (.mkv takes the most): attachment font.ttf.']);
    expect(tracks.map(({ codec, language }) => [codec, language])).toEqual([
      ['h264', 'und'],
      ['aac', 'ger'],
      ['ac3', 'eng'],
      ['mov_text', 'fre'],
      ['mov_text', 'und'],
    ]);
    expect(tracks.map(({ isDefault }) => isDefault).slice(1, 3)).toEqual([false, true]);
    expect(metadata).toMatchObject({ title: 'My Holiday', date: '2024-05-04' });
    const [first = 0, second = 0] = await cueStarts();
    const shown = (index: number): unknown[] =>
      (tracks[index]?.packets ?? [])
        .filter(({ data }) => data.length > 2)
        .map(({ start, data }) => [start, data.subarray(2, 2 + data.readUInt16BE()).toString()]);
    expect(shown(3)).toEqual([
      [first, 'Hello there'],
      [second, 'A & B'],
    ]);
    expect(shown(4)).toEqual([[first, 'Styled, slanted\nsecond line']]);
  });

  it('and back: mov_text becomes subrip in .mkv', async () => {
    await make('text.mp4', '-i', at('tracks.mkv'), '-map', '0:v', '-map', '0:s:0', '-c:v', 'copy', '-c:s', 'mov_text');
    const { tracks } = await tracksOf('text.mp4', { ending: '.mkv' });
    expect(tracks[1]?.codec).toBe('subrip');
    expect(tracks[1]?.packets.map(({ start, data }) => [start, data.toString()])).toEqual([
      [0.08, 'Hello there'],
      [0.24, 'A & B'],
    ]);
  });

  it('.webm gets WebVTT, Opus and AV1', async () => {
    const { tracks, notices } = await tracksOf('tracks.mkv', { ending: '.webm' });
    expect(tracks.map(({ codec }) => codec)).toEqual(['av1', 'opus', 'opus', 'webvtt', 'webvtt']);
    const [first, second] = await cueStarts();
    expect(tracks[3]?.packets.map(({ start, duration, data }) => [start, duration, data.toString()])).toEqual([
      [first, 0.12, 'Hello <i>there</i>'],
      [second, 0.12, 'A &amp; B'],
    ]);
    expect(notices.join('\n')).toMatch(/Sound 1 is converted to Opus.*\n.*Sound 2[\s\S]*attachment font\.ttf/);
  });

  it('.ts names the text that it does not take', async () => {
    const { tracks, notices } = await tracksOf('tracks.mkv', { ending: '.ts' });
    expect(tracks.map(({ codec }) => codec)).toEqual(['h264', 'aac', 'ac3']);
    expect(notices).toEqual([
      'Left out, as .ts does not take it (.mkv takes the most): subtitles 3 (subrip, fre), subtitles 4 (ass), attachment font.ttf.',
    ]);
  });

  it('a cover picture stays one, and a place and a time code stay', async () => {
    await make('cover.jpg', '-f', 'lavfi', '-i', 'color=red:size=32x32', '-frames:v', '1');
    await make(
      'cover.mp4',
      ...[...PICTURES, '-i', at('cover.jpg'), '-map', '0', '-map', '1', ...X264, '-c:v:1', 'copy'],
      ...['-disposition:v:1', 'attached_pic', '-metadata', 'location=+52.5200+013.4050/', '-timecode', '10:00:00:00'],
    );
    const jpeg = readFileSync(at('cover.jpg'));
    const { tracks, metadata, notices } = await tracksOf('cover.mp4');
    expect(notices).toEqual([]);
    expect(metadata['location']).toBe('+52.5200+013.4050/');
    expect(tracks.map(({ codec }) => codec).sort()).toEqual(['h264', 'mjpeg', 'none'].sort());
    expect(tracks.find(({ codec }) => codec === 'h264')?.metadata['timecode']).toBe('10:00:00:00');
    expect(tracks.find(({ codec }) => codec === 'mjpeg')?.packets[0]?.data).toEqual(jpeg);
    const matroska = await tracksOf('cover.mp4', { ending: '.mkv' });
    expect(matroska.tracks.find(({ codec }) => codec === 'mjpeg')?.metadata['filename']).toBe('cover.jpg');
  });
});

describe('J sound that the container does not take', () => {
  it.each([
    ['.mkv', 'pcm_s16le', /Sound 1 is converted to PCM of 16 bits: \.mkv does not take adpcm_ima_qt/],
    ['.mp4', 'aac', /Sound 1 is converted to AAC: \.mp4 does not take adpcm_ima_qt/],
    ['.mov', 'adpcm_ima_qt', undefined],
  ])('adpcm_ima_qt to %s: %s', async (ending, codec, notice) => {
    await make('adpcm.mov', ...PICTURES, ...tone(0.4), ...X264, '-c:a', 'adpcm_ima_qt');
    const { tracks, notices } = await tracksOf('adpcm.mov', { ending });
    expect(tracks[1]?.codec).toBe(codec);
    if (notice === undefined) expect(notices).toEqual([]);
    else expect(notices[0]).toMatch(notice);
    const [first] = tracks[1]?.packets ?? [];
    const last = tracks[1]?.packets.at(-1);
    expect(first?.start ?? -1).toBeCloseTo(0, 1);
    expect((last?.start ?? 0) + (last?.duration ?? 0)).toBeCloseTo(0.4, 1);
  });

  it('--no-audio leaves the sound out', async () => {
    const { tracks, notices } = await tracksOf('tracks.mkv', { ending: '.mkv', sound: false });
    expect(tracks.map(({ codec }) => codec)).toEqual(['h264', 'subrip', 'ass', 'ttf']);
    expect(notices).toEqual([]);
  });
});

describe('K', () => {
  it('one damaged AAC header: that packet is left out and counted', async () => {
    await make('good.ts', ...PICTURES, ...tone(0.4), ...X264, '-c:a', 'aac');
    const data = readFileSync(at('good.ts'));
    const headers = adtsHeaders(data);
    expect(headers.length).toBeGreaterThan(6);
    // The sync word stays; the layer bits say what no AAC says.
    for (const offset of headers.slice(4, 5)) data[offset] = 0x00;
    writeFileSync(at('bad.ts'), data);
    for (const ending of ['.mp4', '.mkv']) {
      const { tracks, damagedPackets } = await tracksOf('bad.ts', { ending });
      expect(damagedPackets).toBe(1);
      expect(tracks[1]?.packets.length).toBeGreaterThan(headers.length / 2);
    }
  });
});

/** Offsets of ADTS headers (ISO 13818-7 6.2) in a transport stream, where PES packets begin with one. */
function adtsHeaders(data: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; at < data.length - 1; at += 1) {
    if (data[at] === 0xff && ((data[at + 1] ?? 0) & 0xf6) === 0xf0) found.push(at);
  }
  return found;
}
