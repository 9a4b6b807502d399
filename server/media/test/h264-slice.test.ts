import { describe, expect, it } from 'vitest';
import { makeBFrames } from '../../../testing/b-frames.ts';
import { isBPicture, spsOf } from '../h264-slice.ts';

describe('isBPicture', () => {
  it('is true for the B-frames of a stream, referenced ones too, and for nothing else', () => {
    const units = makeBFrames({ frames: 13, bFrames: 3, pyramid: true });
    const numbers = units.filter(({ data }) => isBPicture(data)).map(({ number }) => number);
    expect(numbers.sort((a, b) => a - b)).toEqual([1, 2, 3, 5, 6, 7, 9, 10, 11]);
    expect(makeBFrames({ frames: 6, bFrames: 0 }).some(({ data }) => isBPicture(data))).toBe(false);
  });

  it.each([[], [0, 0, 1], [0, 0, 0, 1, 0x41], [0, 0, 1, 0x41, 0, 0, 0, 0], [0, 0, 1, 0x06, 5, 1, 0, 0x80]])(
    'is false for bytes that have no slice type',
    (...bytes) => expect(isBPicture(Uint8Array.from(bytes))).toBe(false),
  );
});

it('spsOf gives the parameter set of a keyframe, behind any other units', () => {
  const [keyframe, next] = makeBFrames({ frames: 3, bFrames: 0 });
  const sps = spsOf(keyframe?.data ?? new Uint8Array());
  expect((sps?.[0] ?? 0) & 0x1f).toBe(7);
  const delimiter = Uint8Array.from([0, 0, 0, 1, 9, 0xf0]);
  const behindDelimiter = Uint8Array.from([...delimiter, ...(keyframe?.data ?? [])]);
  expect(spsOf(behindDelimiter)).toEqual(sps);
  expect(spsOf(next?.data ?? delimiter)).toBeUndefined();
});
