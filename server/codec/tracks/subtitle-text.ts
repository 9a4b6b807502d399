/**
 * Text subtitles from one container's form into another's. Between them stands text with line feeds, and `<i>`, `<b>`, `<u>` where both
 * sides have them; places, colours and fonts of ASS have no counterpart.
 */

/** libav's names of the codecs that hold text. */
export const TEXT_SUBTITLES: ReadonlySet<string> = new Set(['subrip', 'text', 'ass', 'ssa', 'mov_text', 'webvtt']);

export type TextForm = 'subrip' | 'mov_text' | 'webvtt';

/** @returns the packet's data in the other form; undefined for a packet that shows nothing */
export function convertSubtitle(data: Uint8Array, from: string, to: TextForm): Buffer | undefined {
  const text = textOf(Buffer.from(data), from).trim();
  if (text === '') return undefined;
  switch (to) {
    case 'subrip':
      return Buffer.from(text);
    case 'webvtt':
      return Buffer.from(escapeWebVtt(text));
    case 'mov_text':
      return movText(text);
  }
}

function textOf(data: Buffer, from: string): string {
  switch (from) {
    case 'ass':
    case 'ssa':
      return assText(data.toString());
    case 'mov_text':
      // 3GPP TS 26.245 5.17: a length of 16 bits, text, boxes of style.
      return data.length < 2 ? '' : newLines(data.subarray(2, 2 + data.readUInt16BE(0)).toString());
    case 'webvtt':
      return webVttText(data.toString());
    default:
      return newLines(data.toString()).replace(/<\/?font[^>]*>|\{\\[^}]*\}/gi, '');
  }
}

const newLines = (text: string): string => text.replace(/\r\n?/g, '\n').replaceAll('\0', '');

/** `ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text`, as libav and Matroska hand it over. */
function assText(line: string): string {
  const text = line.split(',').slice(8).join(',');
  const open: string[] = [];
  const marked = text.replace(/\{([^}]*)\}/g, (_all, codes: string) => {
    // Drawings are not text.
    let tags = '';
    for (const [, letter = '', on] of codes.matchAll(/\\([ibu])(\d*)(?=\\|$|\s)/g)) {
      if (on !== '0' && on !== '') {
        open.push(letter);
        tags += `<${letter}>`;
      } else if (open.includes(letter)) {
        open.splice(open.indexOf(letter), 1);
        tags += `</${letter}>`;
      }
    }
    return tags;
  });
  const closed =
    marked +
    open
      .reverse()
      .map((letter) => `</${letter}>`)
      .join('');
  return newLines(closed)
    .replace(/\\[Nn]/g, '\n')
    .replaceAll('\\h', ' ');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&nbsp;': ' ',
  '&lrm;': '\u200e',
  '&rlm;': '\u200f',
};

function webVttText(text: string): string {
  const plain = newLines(text).replace(/<(?!\/?[ibu]>)[^>]*>/g, '');
  return plain.replace(/&(amp|lt|gt|nbsp|lrm|rlm);/g, (entity) => ENTITIES[entity] ?? entity);
}

function escapeWebVtt(text: string): string {
  // A blank line would end the cue (WebVTT 4.1).
  const whole = text.replace(/\n{2,}/g, '\n').replaceAll('&', '&amp;');
  return whole.replace(/<(?!\/?[ibu]>)/g, '&lt;');
}

function movText(text: string): Buffer {
  const plain = Buffer.from(text.replace(/<\/?[ibu]>/g, '')).subarray(0, 0xffff);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(plain.length);
  return Buffer.concat([length, plain]);
}

/** Sample entry of `mov_text` (3GPP TS 26.245 5.16): white sans-serif, centred at the bottom, transparent ground. */
export function movTextHeader(): Buffer {
  const header = Buffer.from([
    ...[0, 0, 0, 0],
    // Justification: horizontally in the middle, vertically at the bottom; the ground's RGBA.
    ...[1, 0xff, 0, 0, 0, 0],
    // The text box: none, the track's.
    ...[0, 0, 0, 0, 0, 0, 0, 0],
    // Style record: first and last character, font 1, face, size, RGBA.
    ...[0, 0, 0, 0, 0, 1, 0, 18, 255, 255, 255, 255],
  ]);
  const font = Buffer.from('\0\x01\0\x01\x05Serif', 'latin1');
  const table = Buffer.concat([Buffer.from([0, 0, 0, 8 + font.length]), Buffer.from('ftab'), font]);
  return Buffer.concat([header, table]);
}
