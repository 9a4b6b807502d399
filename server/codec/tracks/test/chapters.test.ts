import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { countChapters } from '../chapters.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'chapters-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function count(...parts: Buffer[]): number {
  const file = path.join(folder, 'file');
  writeFileSync(file, Buffer.concat(parts));
  return countChapters(file);
}

/** An EBML element with a size of eight bytes; `unknown`: as live recordings write it. */
function ebml(id: string, content: Buffer[], unknown = false): Buffer {
  const body = Buffer.concat(content);
  const size = Buffer.alloc(8, 0xff);
  size[0] = 1;
  if (!unknown) size.writeUIntBE(body.length, 2, 6);
  if (!unknown) size[1] = 0;
  return Buffer.concat([Buffer.from(id, 'hex'), size, body]);
}
const header = ebml('1a45dfa3', []);
const atom = ebml('b6', [ebml('73c4', [Buffer.of(1)])]);
const chapters = ebml('1043a770', [ebml('45b9', [atom, atom, atom]), ebml('45b9', [atom])]);
const cluster = ebml('1f43b675', [Buffer.alloc(100, 0xb6)]);
const seekHead = (position: number): Buffer => {
  const at = Buffer.alloc(8);
  at.writeUIntBE(position, 2, 6);
  const entry = ebml('4dbb', [ebml('53ab', [Buffer.from('1043a770', 'hex')]), ebml('53ac', [at])]);
  return ebml('114d9b74', [entry]);
};

describe('Matroska', () => {
  it('counts those of the first edition, in front of the pictures', () => {
    expect(count(header, ebml('18538067', [chapters, cluster]))).toBe(3);
    expect(count(header, ebml('18538067', [chapters, cluster], true))).toBe(3);
    expect(count(header, ebml('18538067', [cluster]))).toBe(0);
  });

  it('finds those behind the pictures by the index in front', () => {
    const index = seekHead(0);
    const position = index.length + cluster.length;
    expect(count(header, ebml('18538067', [seekHead(position), cluster, chapters]))).toBe(3);
    expect(count(header, ebml('18538067', [seekHead(2 ** 40), cluster, chapters]))).toBe(0);
  });
});

function box(name: string, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(body.length + 8, 0);
  head.write(name, 4, 'latin1');
  return Buffer.concat([head, body]);
}
const words = (...values: number[]): Buffer => {
  const data = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => data.writeUInt32BE(value, 4 * index));
  return data;
};
const track = (id: number, samples: number, ...more: Buffer[]): Buffer =>
  box(
    'trak',
    box('tkhd', words(0, 0, 0, id)),
    ...more,
    box('mdia', box('minf', box('stbl', box('stsz', words(0, 0, samples))))),
  );

describe('MP4', () => {
  it('counts the titles of a track that another names as its chapters', () => {
    const pictures = track(1, 250, box('tref', box('chap', words(3))));
    const moov = box('moov', pictures, track(2, 400), track(3, 12));
    expect(count(box('ftyp', words(0)), box('mdat', Buffer.alloc(50, 0xff)), moov)).toBe(12);
    expect(count(box('moov', track(1, 250), track(2, 400)))).toBe(0);
  });

  it('counts a list of titles', () => {
    const list = box('chpl', words(0x01000000, 0), Buffer.of(7));
    expect(count(box('moov', track(1, 250), box('udta', list)))).toBe(7);
  });

  it('reads sizes of 64 bits', () => {
    const large = Buffer.concat([words(1), Buffer.from('mdat'), words(0, 24), Buffer.alloc(8)]);
    expect(count(large, box('moov', box('udta', box('chpl', words(0), Buffer.of(2)))))).toBe(2);
  });
});

describe('anything else', () => {
  it('has none', () => {
    expect(count()).toBe(0);
    expect(count(Buffer.from('RIFF'))).toBe(0);
    expect(count(header, Buffer.from([0, 0, 0, 0]))).toBe(0);
    expect(countChapters(path.join(folder, 'absent'))).toBe(0);
    expect(countChapters(folder)).toBe(0);
  });

  it('stops at once at false sizes and at elements without an end', () => {
    const whole = Buffer.concat([header, ebml('18538067', [seekHead(60), chapters])]);
    for (let length = 0; length < whole.length; length += 1) expect(count(whole.subarray(0, length))).toBeLessThan(4);
    // A million boxes of eight bytes.
    expect(count(Buffer.alloc(8_000_000, words(8, 0x66726565)))).toBe(0);
    let deep = box('moov');
    for (let level = 0; level < 100; level += 1) deep = box('moov', deep);
    expect(count(deep)).toBe(0);
  });
});
