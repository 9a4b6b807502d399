import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readRecording, SessionRecorder, sessionRecorders, UnitDigests } from '../session-recording.ts';

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'recording-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const header = { version: '0', startedAt: 'now', jitterMs: 80 };
const quiet = { maxBytes: 1e6, onStopped: () => undefined };

function recorded(): string {
  const file = path.join(folder, 'a.session');
  const recorder = new SessionRecorder(file, header, quiet);
  recorder.write('offer', 1, Buffer.from('v=0'));
  recorder.write('rtp', 2.5, Buffer.from([1, 2, 3]));
  recorder.writeTick(3, undefined);
  recorder.writeTick(4, 20_000);
  recorder.close();
  recorder.close();
  recorder.write('rtp', 5, Buffer.from([9]));
  return file;
}

it('what was written is read, in order; nothing after close', () => {
  const read = readRecording(recorded());
  expect(read.header).toEqual(header);
  const records = [...read.records];
  expect(records.map(({ type, atUs }) => [type, atUs])).toEqual([
    ['offer', 1],
    ['rtp', 2.5],
    ['tick', 3],
    ['tick', 4],
  ]);
  expect(records[1]?.data).toEqual(Buffer.from([1, 2, 3]));
  expect(records[2]?.data.readDoubleLE()).toBeNaN();
  expect(records[3]?.data.readDoubleLE()).toBe(20_000);
});

it('of a file that was cut inside a record the records before it count', () => {
  const file = recorded();
  truncateSync(file, statSync(file).size - 3);
  expect([...readRecording(file).records]).toHaveLength(3);
});

it.each([
  ['is no recording', (file: string) => writeFileSync(file, 'RIFF....'), 'is not a session recording'],
  ['is empty', (file: string) => writeFileSync(file, ''), 'is not a session recording'],
  ['has a damaged header', (file: string) => writeFileSync(file, 'flashvsr-session 1\n{"a"\n'), 'header'],
  ['has an unknown record', (file: string) => appendFileSync(file, Buffer.alloc(20, 99)), 'damaged'],
  ['is missing', (file: string) => rmSync(file), 'cannot be read'],
])('a file that %s is refused with a reason', (_, damage, reason) => {
  const file = recorded();
  damage(file);
  expect(() => [...readRecording(file).records]).toThrow(reason);
});

it('stops at its limit and says so; the records before are whole', () => {
  const reasons: string[] = [];
  const create = sessionRecorders(
    path.join(folder, 'new'),
    { version: '0', jitterMs: 80 },
    {
      maxBytes: 300,
      onStopped: (_, reason) => reasons.push(reason),
    },
  );
  const recorder = create();
  for (let at = 0; at < 50; at += 1) recorder.write('rtp', at, Buffer.alloc(50));
  expect(recorder.recording).toBe(false);
  expect(reasons).toHaveLength(1);
  expect(reasons[0]).toContain('300 bytes');
  const size = readFileSync(recorder.path).length;
  expect(size).toBeLessThanOrEqual(300);
  expect([...readRecording(recorder.path).records].length).toBeGreaterThan(1);
});

it('a folder that cannot be made is refused at once', () => {
  const file = path.join(folder, 'taken');
  writeFileSync(file, '');
  expect(() =>
    sessionRecorders(file, { version: '0', jitterMs: 80 }, { maxBytes: 1, onStopped: () => undefined }),
  ).toThrow('cannot be made');
});

it('digests depend on bytes, keyframes, codecs and relative times, not on where the time line began', () => {
  const unit = { codec: 'H264', keyframe: true, mediaTime: 1000, data: Buffer.from([1]) } as const;
  const of = (changes: object, start = 1000) => {
    const digests = new UnitDigests();
    digests.of({ ...unit, mediaTime: start });
    return digests.of({ ...unit, ...changes }).toString('hex');
  };
  const same = of({ mediaTime: 4000 });
  expect(of({ mediaTime: 9000 }, 6000)).toBe(same);
  const others = [
    of({ mediaTime: 4001 }),
    of({ mediaTime: 4000, keyframe: false }),
    of({ mediaTime: 4000, codec: 'VP8' }),
    of({ mediaTime: 4000, data: Buffer.from([2]) }),
  ];
  expect(new Set([same, ...others]).size).toBe(5);
});
