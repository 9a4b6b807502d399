import { describe, expect, it } from 'vitest';
import { parsePlaylist, type MainPlaylist, type MediaPlaylist } from '../child/hls-playlist.ts';
import { chosen } from '../child/open-hls.ts';

const BASE = new URL('https://cdn.example/live/main.m3u8?token=1');
const media = (text: string): MediaPlaylist => {
  const playlist = parsePlaylist(text, BASE);
  if (playlist.kind !== 'media') throw new Error('no media playlist');
  return playlist;
};
const main = (text: string): MainPlaylist => {
  const playlist = parsePlaylist(text, BASE);
  if (playlist.kind !== 'main') throw new Error('no main playlist');
  return playlist;
};

describe('a media playlist', () => {
  it('has segments with numbers, ranges, maps and keys (RFC 8216 section 4.3)', () => {
    const { segments, targetSeconds, ended } = media(
      [
        '#EXTM3U\r\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:41',
        '#EXT-X-MAP:URI="init.mp4",BYTERANGE="800@0"\n#EXT-X-BYTERANGE:1000@800\n#EXTINF:5.96,title, with comma\nall.mp4',
        '#EXT-X-BYTERANGE:500\n#EXTINF:6,\nall.mp4',
        '#EXT-X-KEY:METHOD=AES-128,URI="/key?a=b,c",IV=0x000102030405060708090A0B0C0D0E0F\n#EXTINF:6,\n../b.mp4',
        '#EXT-X-KEY:METHOD=NONE\n#EXT-X-UNKNOWN:1\n# a comment\n#EXTINF:2.5,\nhttps://other.example/c.mp4\n#EXT-X-ENDLIST',
      ].join('\n'),
    );
    expect({ targetSeconds, ended }).toEqual({ targetSeconds: 6, ended: true });
    expect(segments.map(({ sequence, url }) => [sequence, url])).toEqual([
      [41, 'https://cdn.example/live/all.mp4'],
      [42, 'https://cdn.example/live/all.mp4'],
      [43, 'https://cdn.example/b.mp4'],
      [44, 'https://other.example/c.mp4'],
    ]);
    expect(segments.map(({ range }) => range?.from)).toEqual([800, 1800, undefined, undefined]);
    expect(segments[0]?.map).toEqual({ url: 'https://cdn.example/live/init.mp4', range: { from: 0, length: 800 } });
    expect(segments[2]?.key?.url).toBe('https://cdn.example/key?a=b,c');
    expect(segments[2]?.key?.iv?.at(-1)).toBe(15);
    expect(segments[3]?.key).toBeUndefined();
  });

  it.each([
    ['no playlist', '<html>'],
    ['nothing', ''],
    ['no segments', '#EXTM3U\n'],
    ['a duration that is none', '#EXTM3U\n#EXTINF:abc,\na.ts'],
    ['a negative duration', '#EXTM3U\n#EXTINF:-1,\na.ts'],
    ['a number that is none', '#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1e99\n#EXTINF:1,\na.ts'],
    ['a range that is none', '#EXTM3U\n#EXT-X-BYTERANGE:x\n#EXTINF:1,\na.ts'],
    ['an address that is none', '#EXTM3U\n#EXTINF:1,\nhttp://'],
    ['a map without address', '#EXTM3U\n#EXT-X-MAP:X=1\n#EXTINF:1,\na.ts'],
    ['a malformed IV', '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x1\n#EXTINF:1,\na.ts'],
    ['lines without end', `#EXTM3U\n${'#\n'.repeat(20_001)}`],
  ])('with %s is refused', (_what, text) => {
    expect(() => parsePlaylist(text, BASE)).toThrow("The target's answer");
  });

  // With the square of its length this line would take a minute.
  it('with a long line that names no attribute is read', () => {
    const text = `#EXTM3U\n#EXT-X-KEY:${'A'.repeat(2 ** 18)}\n#EXTINF:1,\na.ts`;
    expect(() => parsePlaylist(text, BASE)).toThrow('no method');
  });

  it('with encryption that is not read says which', () => {
    const text = '#EXTM3U\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://a",KEYFORMAT="com.apple"\n#EXTINF:1,\na.ts';
    expect(() => parsePlaylist(text, BASE)).toThrow('SAMPLE-AES');
  });
});

describe('a playlist of renditions', () => {
  const text = [
    '#EXTM3U',
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="low",NAME="a",URI="low.m3u8"',
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="low",NAME="b",DEFAULT=YES,URI="default.m3u8"',
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="in",NAME="in the video"',
    '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="low",NAME="c",URI="subtitles.m3u8"',
    '#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=1920x1080,CODECS="hvc1.1,mp4a.40.2"\nhevc.m3u8',
    '#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=640x360,CODECS="avc1.4d401e,mp4a.40.2",AUDIO="low"\n360.m3u8',
    '#EXT-X-STREAM-INF:BANDWIDTH=3000000,RESOLUTION=1280x720,CODECS="avc1.4d401f",AUDIO="in"\n720.m3u8',
    '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="iframes.m3u8"',
  ].join('\n');
  const name = (maxPixels: number): string => chosen(main(text), maxPixels).variant.url.replace(/.*\//, '');

  it('gives the largest H264 one that the server takes, or the smallest', () => {
    expect(name(1920 * 1088)).toBe('720.m3u8');
    expect(name(1000 * 700)).toBe('360.m3u8');
    expect(name(100)).toBe('360.m3u8');
  });

  it('gives its sound where that has a playlist', () => {
    expect(chosen(main(text), 1000 * 700).audioUrl).toBe('https://cdn.example/live/default.m3u8');
    expect(chosen(main(text), 1920 * 1088).audioUrl).toBeUndefined();
  });
});
