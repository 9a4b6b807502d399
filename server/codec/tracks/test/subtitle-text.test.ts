import { describe, expect, it } from 'vitest';
import { convertSubtitle, movTextHeader, type TextForm } from '../subtitle-text.ts';

const convert = (text: string | Buffer, from: string, to: TextForm): string | undefined =>
  convertSubtitle(Buffer.from(text), from, to)?.toString();

const ass = (text: string): string => `0,0,Default,,0,0,0,,${text}`;
const movText = (text: string): Buffer => {
  const data = Buffer.from(text);
  return Buffer.concat([Buffer.from([data.length >> 8, data.length & 0xff]), data]);
};

describe('text subtitles in another form', () => {
  it.each([
    ['ass', ass('{\\pos(1,2)}a, {\\i1}b{\\i0}\\Nc\\hd'), 'subrip', 'a, <i>b</i>\nc d'],
    ['ass', ass('{\\b1}never closed'), 'subrip', '<b>never closed</b>'],
    ['ass', ass('{\\fs20\\be1}size'), 'webvtt', 'size'],
    ['subrip', '<i>a</i> <font color="red">b</font>\r\nc', 'webvtt', '<i>a</i> b\nc'],
    ['subrip', 'a < b & c', 'webvtt', 'a &lt; b &amp; c'],
    ['webvtt', '<v Ann>a &amp; <c.big>b</c> &lt;3', 'subrip', 'a & b <3'],
    ['webvtt', 'a\n\nb', 'webvtt', 'a\nb'],
    ['text', 'ä 漢字 🎬', 'subrip', 'ä 漢字 🎬'],
  ] as const)('%s %j as %s', (from, text, to, expected) => {
    expect(convert(text, from, to)).toBe(expected);
  });

  it('mov_text: length and UTF-8, boxes of style left out', () => {
    const styled = Buffer.concat([movText('ä\nb'), Buffer.from('\0\0\0\x08styl', 'latin1')]);
    expect(convert(styled, 'mov_text', 'subrip')).toBe('ä\nb');
    expect(convertSubtitle(Buffer.from('<i>ä</i>'), 'subrip', 'mov_text')).toEqual(movText('ä'));
    const long = convertSubtitle(Buffer.alloc(100_000, 97), 'subrip', 'mov_text');
    expect(long?.readUInt16BE()).toBe(0xffff);
    expect(long).toHaveLength(0xffff + 2);
  });

  it('shows nothing for empty or truncated packets', () => {
    for (const [data, from] of [
      ['', 'subrip'],
      [' \n', 'webvtt'],
      [ass(''), 'ass'],
      ['0,0', 'ass'],
      [Buffer.from([0, 0]), 'mov_text'],
      [Buffer.from([0]), 'mov_text'],
    ] as const) {
      expect(convertSubtitle(Buffer.from(data), from, 'subrip')).toBeUndefined();
    }
  });

  it('the sample entry of mov_text holds one font, by the length of its box', () => {
    const header = movTextHeader();
    const table = header.indexOf('ftab') - 4;
    expect(table).toBe(30);
    expect(header.readUInt32BE(table)).toBe(header.length - table);
  });
});
