import { describe, expect, it } from 'vitest';
import { Unwrapper } from '../sequence.ts';

describe('Unwrapper', () => {
  it('counts on over the wrap, several times', () => {
    const unwrapper = new Unwrapper(16);
    let expected = 65_000;
    for (let step = 0; step < 200_000; step += 7) {
      expect(unwrapper.unwrap((65_000 + step) & 0xffff)).toBe(expected);
      expected += 7;
    }
  });

  it('places reordered values around the wrap where they belong', () => {
    const unwrapper = new Unwrapper(16);
    expect(unwrapper.unwrap(65_534)).toBe(65_534);
    expect(unwrapper.unwrap(1)).toBe(65_537);
    expect(unwrapper.unwrap(65_535)).toBe(65_535);
    expect(unwrapper.unwrap(0)).toBe(65_536);
    expect(unwrapper.newest).toBe(65_537);
  });

  it('peeks without moving its reference', () => {
    const unwrapper = new Unwrapper(32);
    unwrapper.unwrap(0xffff_fff0);
    expect(unwrapper.peek(5)).toBe(0x1_0000_0005);
    expect(unwrapper.newest).toBe(0xffff_fff0);
  });
});
