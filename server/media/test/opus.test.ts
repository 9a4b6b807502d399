import { expect, it } from 'vitest';
import { opusTone } from '../../../testing/opus-tone.ts';
import { opusSamples } from '../opus.ts';

it.each([
  ['SILK 60 ms', [3 << 3], 2880],
  ['hybrid 10 ms', [12 << 3], 480],
  ['CELT 2.5 ms', [16 << 3], 120],
  ['CELT 20 ms, two frames', [(31 << 3) | 1], 1920],
  ['CELT 20 ms, three frames', [(31 << 3) | 3, 3], 2880],
  ['longer than 120 ms', [(31 << 3) | 3, 7], undefined],
  ['no frames', [(31 << 3) | 3, 0], undefined],
  ['code 3 without its count', [(31 << 3) | 3], undefined],
  ['an empty packet', [], undefined],
])('RFC 6716 section 3.1: %s', (_what, bytes, samples) => {
  expect(opusSamples(Uint8Array.from(bytes))).toBe(samples);
});

it("an encoder's packets of 20 ms", () => {
  expect(opusTone(3).map(opusSamples)).toEqual([960, 960, 960]);
});
