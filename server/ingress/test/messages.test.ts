import { expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import { RecordReader, encodeRecord, type PullRecord } from '../child/messages.ts';

const RECORDS: readonly PullRecord[] = [
  { kind: 'report', report: { type: 'opened', hasAudio: true, notices: ['one'] } },
  { kind: 'video', codec: 'H264', keyframe: true, timestamp: -9000, data: Buffer.from('picture') },
  { kind: 'video', codec: 'VP9', keyframe: false, timestamp: 2 ** 40, data: Buffer.alloc(100_000, 1) },
  { kind: 'audio', timestamp: 960, data: Buffer.from('sound') },
  { kind: 'report', report: { type: 'alive', framesDropped: 3, damaged: 0 } },
  { kind: 'report', report: { type: 'failed', error: new AppError('target.unreachable', 'gone').toJSON() } },
  { kind: 'report', report: { type: 'ended' } },
];

it.each([1, 4, 7, 1000, 1 << 20])('records come out as they went in, cut into pieces of %i bytes', (size) => {
  const records = size === 1 ? RECORDS.filter((_, index) => index !== 2) : RECORDS;
  const bytes = Buffer.concat(records.flatMap(encodeRecord));
  const reader = new RecordReader();
  const out: PullRecord[] = [];
  for (let at = 0; at < bytes.length; at += size) out.push(...reader.push(bytes.subarray(at, at + size)));
  expect(out).toEqual(records);
});

const record = (kind: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(payload.length, 0);
  head[4] = kind;
  return Buffer.concat([head, payload]);
};
const report = (value: unknown): Buffer => record(0, Buffer.from(JSON.stringify(value)));
const timestamp = (value: number): Buffer => {
  const bytes = Buffer.alloc(9);
  bytes.writeDoubleBE(value);
  return bytes;
};

it.each([
  ['a length without end', Buffer.from([0xff, 0xff, 0xff, 0xff, 1])],
  ['an unknown kind', record(9, Buffer.alloc(20))],
  ['a picture without bytes', record(1, Buffer.alloc(10))],
  ['a codec that there is none of', record(1, Buffer.concat([Buffer.from([7, 1]), timestamp(0)]))],
  ['a time that is no number', record(2, timestamp(NaN))],
  ['a time that is no whole number', record(2, timestamp(0.5))],
  ['a time beyond all clocks', record(2, timestamp(2 ** 60))],
  ['a report that is no JSON', record(0, Buffer.from('{'))],
  ['a report of an unknown type', report({ type: 'other' })],
  ['a report that is nothing', report(null)],
])('%s is refused', (_what, bytes) => {
  expect(() => new RecordReader().push(bytes)).toThrow('cannot be right');
});

it('a failure ends no more than the stream, whatever code and text it names', () => {
  const error = { code: 'engine.failed', message: 'x'.repeat(10_000), scope: 'process', remedy: '', context: {} };
  const [read] = new RecordReader().push(report({ type: 'failed', error }));
  if (read?.kind !== 'report' || read.report.type !== 'failed') throw new Error('no failure');
  expect(read.report.error).toMatchObject({ code: 'target.answer', scope: 'stream' });
  expect(read.report.error.message).toHaveLength(500);
});

it('counts are whole numbers, whatever the process says', () => {
  expect(new RecordReader().push(report({ type: 'alive', framesDropped: -1, damaged: '7' }))).toEqual([
    { kind: 'report', report: { type: 'alive', framesDropped: 0, damaged: 0 } },
  ]);
});
