import { expect, it } from 'vitest';
import { FileTimeline, type StreamKind } from '../file-timeline.ts';

const VIDEO = 0;
const SOUND = 1;

/** Feeds packets of 40 ms and returns their times in the result; `undefined` for a packet that is left out. */
function run(timeline: FileTimeline, packets: readonly (readonly [stream: number, dts: number])[]) {
  const placed = packets.map(([stream, dts]) => {
    const kind: StreamKind = stream === VIDEO ? 'video' : 'audio';
    return { dts, stretch: timeline.place(stream, kind, { dts, duration: 0.04 }) };
  });
  return placed.map(({ dts, stretch }) =>
    stretch === undefined ? undefined : Math.round((dts + stretch.offset) * 1000) / 1000,
  );
}

/** `count` packets of each stream from `start` on, the sound's behind the picture's by `lag` packets in the file. */
function both(start: number, count: number, lag = 0): [number, number][] {
  const packets: [number, number][] = [];
  for (let index = 0; index < count + lag; index += 1) {
    if (index < count) packets.push([VIDEO, start + index * 0.04]);
    if (index >= lag) packets.push([SOUND, start + (index - lag) * 0.04]);
  }
  return packets;
}

it('leaves a clock alone that does not jump, a gap of 9 s included', () => {
  const timeline = new FileTimeline(true);
  expect(run(timeline, [...both(1.4, 3), ...both(10.5, 2)])).toEqual([
    ...[1.4, 1.4, 1.44, 1.44, 1.48, 1.48],
    ...[10.5, 10.5, 10.54, 10.54],
  ]);
  expect(timeline.jumps).toBe(0);
});

it.each([
  ['back', 100, 1.4],
  ['forward', 1.4, 99.4],
])('one offset for both streams at a jump %s, although the sound arrives there later', (_, first, second) => {
  const timeline = new FileTimeline(true);
  const times = run(timeline, [...both(first, 10, 4).slice(0, 16), ...interleave(first, second)]);
  const of = (stream: number): (number | undefined)[] =>
    times.filter(
      (__, index) => [...both(first, 10, 4).slice(0, 16), ...interleave(first, second)][index]?.[0] === stream,
    );
  const straight = Array.from({ length: 20 }, (__, index) => Math.round((first + index * 0.04) * 1000) / 1000);
  expect(of(VIDEO)).toEqual(straight);
  expect(of(SOUND)).toEqual(straight);
  expect(timeline.jumps).toBe(1);
});

/** The rest of the first part's sound between the first pictures of the second part. */
function interleave(first: number, second: number): [number, number][] {
  const rest = both(first, 10, 4).slice(16);
  const next = both(second, 10);
  const pictures = next.filter(([stream]) => stream === VIDEO);
  const sound = next.filter(([stream]) => stream === SOUND);
  return [...pictures.slice(0, 2), ...rest, ...pictures.slice(2), ...sound];
}

it('moves both streams on where one of them was longer', () => {
  const timeline = new FileTimeline(true);
  run(timeline, [...both(1, 5), [SOUND, 1.2]]);
  expect(run(timeline, both(1, 2))).toEqual([1.24, 1.24, 1.28, 1.28]);
});

it('drops sound that repeats a long stretch already covered', () => {
  const timeline = new FileTimeline(true);
  run(timeline, [
    ...both(1, 5),
    ...Array.from({ length: 10 }, (_, index): [number, number] => [SOUND, 1.2 + index * 0.04]),
  ]);
  const times = run(timeline, both(1, 12));
  expect(times.filter((_, index) => index % 2 === 0)).not.toContain(undefined);
  const sound = times.filter((_, index) => index % 2 === 1);
  expect(sound.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => undefined));
  expect(sound.slice(10)).toEqual([1.6, 1.64]);
});

it('keeps the picture where it is when the clock of the sound alone steps back', () => {
  const timeline = new FileTimeline(true);
  run(timeline, both(1, 10));
  expect(
    run(timeline, [
      [VIDEO, 1.4],
      [SOUND, 1.2],
      [VIDEO, 1.44],
      [SOUND, 1.24],
    ]),
  ).toEqual([1.4, 1.4, 1.44, 1.44]);
});

it('takes a gap of one stream for a gap when the other goes on', () => {
  const timeline = new FileTimeline(true);
  run(timeline, both(1, 2));
  const sound = Array.from({ length: 500 }, (_, index): [number, number] => [SOUND, 1.08 + index * 0.04]);
  run(timeline, sound);
  expect(run(timeline, [[VIDEO, 21.08]])).toEqual([21.08]);
  expect(timeline.jumps).toBe(0);
});

it('keeps gaps of formats whose clock does not jump', () => {
  const timeline = new FileTimeline(false);
  expect(
    run(timeline, [
      [VIDEO, 0],
      [VIDEO, 60],
    ]),
  ).toEqual([0, 60]);
});
