import { expect, it } from 'vitest';
import { FirstLook } from '../first-look.ts';

const look = (first: FirstLook, times: readonly number[]): (number | undefined)[] => times.map((us) => first.add(us));

it('reports the cost of a picture once, without the first four', () => {
  const first = new FirstLook();
  expect(look(first, [90, 80, 70, 60, ...Array.from({ length: 7 }, () => 20)])).toEqual(Array(11).fill(undefined));
  expect(first.add(20)).toBe(20);
  expect(
    look(
      first,
      Array.from({ length: 30 }, () => 99),
    ),
  ).toEqual(Array(30).fill(undefined));
});

it('ignores disturbances of single pictures', () => {
  const disturbed = [20, 95, 21, 80, 70, 22, 60, 90];
  expect(look(new FirstLook(), [0, 0, 0, 0, ...disturbed]).at(-1)).toBe(22);
  const expensive = [44, 41, 43, 90, 42, 43, 45, 47];
  expect(look(new FirstLook(), [0, 0, 0, 0, ...expensive]).at(-1)).toBe(43);
});

it('looks again after a restart, from the first picture on', () => {
  const first = new FirstLook();
  look(
    first,
    Array.from({ length: 9 }, () => 50),
  );
  first.restart();
  expect(
    look(
      first,
      Array.from({ length: 12 }, () => 7),
    ).filter((cost) => cost !== undefined),
  ).toEqual([7]);
});
