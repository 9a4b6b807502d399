/** Pages as screens show them, drawn in memory: text in a 5x7 font, lines of a chart. */

/** Rows of five bits, top first. */
const GLYPHS: readonly (readonly number[])[] = [
  [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
  [0b11110, 0b10001, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110],
  [0b11111, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000, 0b11111],
  [0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001],
  [0b01110, 0b10001, 0b10000, 0b01110, 0b00001, 0b10001, 0b01110],
  [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100],
  [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001],
];
const GLYPH_WIDTH = 6;
const LINE_HEIGHT = 12;

export interface PageLook {
  /** Side of a font's dot in samples; 1: letters 7 samples high. */
  readonly dot?: number;
  readonly ink?: number;
  readonly paper?: number;
  /** Samples that the page is scrolled up. */
  readonly scroll?: number;
}

/** Luma of a page of text with a chart of thin lines in its lower right quarter. */
export function textPage(width: number, height: number, look: PageLook = {}): (x: number, y: number) => number {
  const { dot = 1, ink = 40, paper = 230, scroll = 0 } = look;
  const margin = 8 * dot;
  return (x, y) => {
    if (x > width * 0.55 && y > height * 0.55) return chart(x - width * 0.55, y - height * 0.55) ? ink : paper;
    const column = Math.floor((x - margin) / dot);
    const row = Math.floor((y + scroll - margin) / dot);
    if (x < margin || x > width - margin || row < 0) return paper;
    const line = Math.floor(row / LINE_HEIGHT);
    const letter = Math.floor(column / GLYPH_WIDTH);
    const noise = (line * 7919 + letter * 104_729) % 97;
    // Words, and lines of different lengths.
    if (noise % 6 === 0 || letter > (width / dot / GLYPH_WIDTH) * (0.5 + ((line * 37) % 50) / 100)) return paper;
    const bits = GLYPHS[noise % GLYPHS.length]?.[row % LINE_HEIGHT] ?? 0;
    const bit = column % GLYPH_WIDTH;
    return bit < 5 && ((bits >> (4 - bit)) & 1) === 1 ? ink : paper;
  };
}

function chart(x: number, y: number): boolean {
  return Math.floor(x) % 24 === 0 || Math.floor(y) % 16 === 0 || Math.abs(y - 30 - 20 * Math.sin(x / 15)) < 1;
}
