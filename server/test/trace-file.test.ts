import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { TIMED_STEPS, newTrace, type FrameTrace } from '../media/steps.ts';
import type { EncodedFrame } from '../media/types.ts';
import { TraceFile } from '../trace-file.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'trace-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Event {
  readonly name: string;
  readonly ph: string;
  readonly tid?: number;
  readonly ts: number;
  readonly dur: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** A frame that takes a millisecond in every step. */
function traceFrom(receivedAtUs: number): FrameTrace {
  const trace = newTrace(receivedAtUs, receivedAtUs + 1_000);
  const rest = ['decodedAtUs', 'convertedAtUs', 'gatheredAtUs', 'upscaledAtUs', 'pacedAtUs', 'encodedAtUs', 'sentAtUs'];
  rest.forEach((stamp, index) => Object.assign(trace, { [stamp]: receivedAtUs + 2_000 + 1_000 * index }));
  return trace;
}

function frameOf(trace: FrameTrace, mediaTime: number): EncodedFrame {
  const data = new Uint8Array(100);
  return { codec: 'H264', rendition: 'full', data, mediaTime, keyframe: false, width: 1280, height: 720, trace };
}

const eventsOf = (file: string): Event[] => JSON.parse(readFileSync(file, 'utf8')) as Event[];

it("writes one frame a second and broadcast: its steps as spans inside the frame's, one row for each broadcast", async () => {
  const file = path.join(folder, 'trace.json');
  const trace = new TraceFile(file);
  for (let number = 0; number < 90; number += 1) {
    const stamps = traceFrom(10_000_000 + number * 33_333);
    for (const name of ['a', 'with "quotes"']) trace.frame(name, frameOf(stamps, number * 3000), stamps);
  }
  await trace.close();
  await trace.close();
  const events = eventsOf(file);
  expect(events.filter(({ name }) => name === 'thread_name').map(({ args }) => args?.['name'])).toEqual([
    'a',
    'with "quotes"',
  ]);
  const frames = events.filter(({ name, ph }) => name === 'frame' && ph === 'X');
  // 90 frames at 30 a second are three seconds.
  expect(frames.filter(({ tid }) => tid === 1)).toHaveLength(3);
  expect(frames).toHaveLength(6);
  for (const { tid, ts, dur, args } of frames) {
    expect(args).toMatchObject({ codec: 'H264', width: 1280, bytes: 100 });
    const steps = events.filter(
      (event) => event.tid === tid && event.ts >= ts && event.ts < ts + dur && event.name !== 'frame',
    );
    expect(steps.map(({ name }) => name)).toEqual(TIMED_STEPS);
    expect(steps.reduce((sum, step) => sum + step.dur, 0)).toBe(dur);
  }
});

it('never lets spans of a row overlap, however long a frame takes', async () => {
  const file = path.join(folder, 'slow.json');
  const trace = new TraceFile(file);
  for (let number = 0; number < 20; number += 1) {
    const stamps = { ...traceFrom(number * 500_000), sentAtUs: number * 500_000 + 2_200_000 };
    trace.frame('slow', frameOf(stamps, number), stamps);
  }
  await trace.close();
  const frames = eventsOf(file).filter(({ name }) => name === 'frame');
  expect(frames.length).toBeGreaterThan(2);
  frames.slice(1).forEach(({ ts }, index) => {
    const before = frames[index] as Event;
    expect(ts).toBeGreaterThanOrEqual(before.ts + before.dur);
  });
});

it('stays bounded and reports once why it stops: full, or a folder that is not there', async () => {
  const problems: string[] = [];
  const full = new TraceFile(path.join(folder, 'full.json'), (reason) => problems.push(reason), 2 ** 20);
  for (let number = 0; number < 3_000; number += 1) {
    const stamps = traceFrom(number * 2_000_000);
    full.frame('long', frameOf(stamps, number), stamps);
  }
  await full.close();
  expect(statSync(path.join(folder, 'full.json')).size).toBeLessThan(1.01 * 2 ** 20);
  expect(problems).toEqual([expect.stringMatching(/full\.json is not written any more: it has 1 MiB/)]);
  const nowhere = new TraceFile(path.join(folder, 'none', 'x.json'), (reason) => problems.push(reason));
  await expect.poll(() => problems.length).toBe(2);
  expect(problems[1]).toMatch(/ENOENT/);
  nowhere.frame('a', frameOf(traceFrom(1), 1), traceFrom(1));
  await nowhere.close();
});
