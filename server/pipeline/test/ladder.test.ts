import { expect, it } from 'vitest';
import { Ladder } from '../ladder.ts';

/** Feeds seconds of one kind; returns the rungs stepped to. */
function seconds(ladder: Ladder, count: number, load: number, drops = 0): number[] {
  return Array.from({ length: count }, () => ladder.sample({ load, drops })).flatMap((step) =>
    step ? [step.rung] : [],
  );
}

it('goes down one rung after two overloaded seconds, not after one', () => {
  const ladder = new Ladder(3);
  expect(seconds(ladder, 1, 0.99)).toEqual([]);
  expect(seconds(ladder, 1, 0.5)).toEqual([]);
  expect(seconds(ladder, 1, 0.99)).toEqual([]);
  expect(seconds(ladder, 1, 0.99)).toEqual([1]);
  expect(seconds(ladder, 4, 1)).toEqual([2]);
  expect(seconds(ladder, 10, 1)).toEqual([]);
});

it('counts drops as overload only while busy', () => {
  const ladder = new Ladder(3);
  expect(seconds(ladder, 5, 0.2, 10)).toEqual([]);
  expect(seconds(ladder, 2, 0.8, 3)).toEqual([1]);
});

it('gives the reason of a step', () => {
  const ladder = new Ladder(2);
  ladder.sample({ load: 0.9, drops: 5 });
  expect(ladder.sample({ load: 0.9, drops: 5 })?.reason).toBe(
    'overload: load 90 %, 5 frames dropped in the last second',
  );
});

it('goes up after ten seconds with room, and stays when there is none', () => {
  const ladder = new Ladder(2);
  seconds(ladder, 2, 1);
  expect(seconds(ladder, 60, 0.75)).toEqual([]);
  expect(seconds(ladder, 9, 0.3)).toEqual([]);
  expect(seconds(ladder, 1, 0.3)).toEqual([0]);
});

it('asks less and less often while the rung above overloads, and never goes beyond its ends', () => {
  const ladder = new Ladder(2);
  seconds(ladder, 2, 1);
  const waits: number[] = [];
  for (let climb = 0; climb < 6; climb += 1) {
    let waited = 0;
    while (ladder.rung === 1) {
      ladder.sample({ load: 0.2, drops: 0 });
      waited += 1;
    }
    waits.push(waited);
    expect(seconds(ladder, 2, 1)).toEqual([1]);
  }
  expect(waits).toEqual([10, 20, 40, 80, 160, 160]);
  expect(seconds(new Ladder(1), 10, 1)).toEqual([]);
});

it('never uses rungs before the first one that fits the source, and takes them back with it', () => {
  const ladder = new Ladder(4);
  expect(ladder.setFirst(0, 'same')).toBeUndefined();
  expect(ladder.setFirst(1, 'too large')).toEqual({ rung: 1, cause: 'size', reason: 'too large' });
  expect(seconds(ladder, 60, 0.1)).toEqual([]);
  seconds(ladder, 2, 1);
  expect(ladder.rung).toBe(2);
  // Given up for the load: not handed back by another size.
  expect(ladder.setFirst(0, 'smaller again')).toBeUndefined();
  expect(seconds(ladder, 200, 0.1)).toEqual([1, 0]);
  ladder.setFirst(2, 'too large');
  expect(ladder.setFirst(0, 'smaller again')).toEqual({ rung: 0, cause: 'size', reason: 'smaller again' });
});

it('leaves a rung at once whose first pictures take longer than there is time, and the next one too', () => {
  const ladder = new Ladder(3);
  expect(ladder.look(1.31)).toEqual({
    rung: 1,
    cause: 'load',
    reason: 'overload: its first frames take 131 % of the time there is for each',
  });
  expect(ladder.look(0.97)?.rung).toBe(2);
  expect(ladder.look(3)).toBeUndefined();
  expect(new Ladder(3).look(0.9)).toBeUndefined();
});

it('asks less and less often for a rung that its first pictures show to overload', () => {
  const ladder = new Ladder(2);
  ladder.look(1.31);
  const waits: number[] = [];
  for (let climb = 0; climb < 6; climb += 1) {
    let waited = 0;
    for (; ladder.rung === 1; waited += 1) ladder.sample({ load: 0.41, drops: 0 });
    waits.push(waited);
    expect(ladder.look(1.31)?.rung).toBe(1);
  }
  expect(waits).toEqual([10, 20, 40, 80, 160, 160]);
});

it('asks as rarely as ever for a rung that is out of reach', () => {
  const ladder = new Ladder(2);
  ladder.look(2);
  expect(seconds(ladder, 159, 0.1)).toEqual([]);
  expect(seconds(ladder, 1, 0.1)).toEqual([0]);
});

/** Streams of one engine: a second at a time, each sees where the others are and when one of them moved. */
function together(ladders: readonly Ladder[], count: number, loadOf: () => number): void {
  const movedAt = ladders.map(() => -Infinity);
  for (let second = 0; second < count; second += 1) {
    ladders.forEach((ladder, index) => {
      const rest = ladders.map((_, other) => other).filter((other) => other !== index);
      const others = {
        rungs: rest.map((other) => ladders[other]?.rung ?? 0),
        secondsSinceStep: second - Math.max(...rest.map((other) => movedAt[other] ?? -Infinity)),
      };
      if (ladder.sample({ load: loadOf(), drops: 0, others }) !== undefined) movedAt[index] = second;
    });
  }
}

it('of streams that share an engine one steps at a time, the one that is best off', () => {
  const ladders = [new Ladder(5), new Ladder(5)];
  // A step takes a twentieth off the engine's load.
  const loadOf = (): number => 1.03 - 0.05 * ladders.reduce((sum, { rung }) => sum + rung, 0);
  together(ladders, 10, loadOf);
  expect(ladders.map(({ rung }) => rung).sort()).toEqual([1, 1]);
});

it('of streams that share an engine the worst off climbs first, one after the other', () => {
  const ladders = [new Ladder(5), new Ladder(5)];
  together(ladders, 12, () => 1);
  const low = ladders.map(({ rung }) => rung);
  expect(Math.abs((low[0] ?? 0) - (low[1] ?? 0))).toBeLessThanOrEqual(1);
  together(ladders, 200, () => 0.3);
  expect(ladders.map(({ rung }) => rung)).toEqual([0, 0]);
});
