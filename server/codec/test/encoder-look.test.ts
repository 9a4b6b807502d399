import { expect, it } from 'vitest';
import { scaledMatrix } from '../encoder-look.ts';

it('V scales the translation of a rotation like the picture, and nothing else', () => {
  // A quarter turn of 64x48: x and y swap, and what turns out of view moves back by the height.
  const turn = Buffer.alloc(36);
  [0, 65536, 0, -65536, 0, 0, 48 * 65536, 0, 2 ** 30].forEach((value, index) => turn.writeInt32LE(value, index * 4));
  const scaled = scaledMatrix(turn, 4);
  const values = Array.from({ length: 9 }, (_, index) => scaled.readInt32LE(index * 4));
  expect(values).toEqual([0, 65536, 0, -65536, 0, 0, 4 * 48 * 65536, 0, 2 ** 30]);
  expect(turn.readInt32LE(24)).toBe(48 * 65536);
});

it('V keeps a translation within its 32 bits', () => {
  const far = Buffer.alloc(36);
  far.writeInt32LE(-(2 ** 31), 24);
  expect(scaledMatrix(far, 4).readInt32LE(24)).toBe(-(2 ** 31));
});
