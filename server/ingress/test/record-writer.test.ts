import { expect, it } from 'vitest';
import { ByteQueue } from '../child/byte-queue.ts';
import { RecordReader, type PullRecord } from '../child/messages.ts';
import { RecordWriter } from '../child/record-writer.ts';
import { srtQuery } from '../child/srt-query.ts';

class Pipe {
  writableLength = 0;
  readonly records: PullRecord[] = [];
  readonly #reader = new RecordReader();

  write(chunk: Buffer): boolean {
    this.records.push(...this.#reader.push(chunk));
    return true;
  }
}

const picture = (timestamp: number, keyframe = false, bytes = 10) =>
  ({ kind: 'video', codec: 'H264', timestamp, keyframe, data: Buffer.alloc(bytes) }) as const;
const sound = (timestamp: number) => ({ kind: 'audio', timestamp, data: Buffer.alloc(3) }) as const;
const times = (pipe: Pipe): unknown[] =>
  pipe.records.map((record) => (record.kind === 'report' ? 'report' : record.timestamp));

it('a full pipe loses pictures up to the next keyframe, and says how many; reports always pass', () => {
  const pipe = new Pipe();
  const writer = new RecordWriter(pipe);
  writer.video(picture(0, true));
  pipe.writableLength = 5 * 2 ** 20;
  writer.video(picture(1));
  writer.audio(sound(1));
  writer.report({ type: 'ended' });
  pipe.writableLength = 0;
  writer.video(picture(2));
  writer.audio(sound(2));
  writer.video(picture(3, true));
  writer.video(picture(4));
  expect(times(pipe)).toEqual([0, 'report', 2, 3, 4]);
  expect(writer.framesDropped).toBe(2);
});

it('a picture larger than any camera makes is left out', () => {
  const pipe = new Pipe();
  const writer = new RecordWriter(pipe);
  writer.video(picture(0, true, 5 * 2 ** 20));
  expect(times(pipe)).toEqual([]);
  expect(writer.framesDropped).toBe(1);
});

it('sound that steps back is left out', () => {
  const pipe = new Pipe();
  const writer = new RecordWriter(pipe);
  for (const timestamp of [0, 960, 960, 500, 1920]) writer.audio(sound(timestamp));
  expect(times(pipe)).toEqual([0, 960, 1920]);
});

it('a queue of bytes holds the fetching side back, is read in any pieces, and ends', async () => {
  const queue = new ByteQueue();
  await queue.push(Buffer.from('abc'));
  await queue.push(Buffer.from('defg'));
  expect((await queue.head(5)).toString()).toBe('abcde');
  expect((await queue.read(4))?.toString()).toBe('abcd');
  expect((await queue.read(100))?.toString()).toBe('efg');
  let pushed = false;
  const pushing = queue.push(Buffer.alloc(5 * 2 ** 20)).then(() => (pushed = true));
  await Promise.resolve();
  expect(pushed).toBe(false);
  await queue.read(2 * 2 ** 20);
  await pushing;
  queue.end();
  expect((await queue.read(10 * 2 ** 20))?.length).toBe(3 * 2 ** 20);
  expect(await queue.read(1)).toBeNull();
});

it('SRT: stream id and key are passed, the rest is ours', () => {
  const query = (url: string): URLSearchParams => new URLSearchParams(srtQuery(new URL(url), 5000));
  const given = query('srt://host:1?streamid=#!::r=cam,m=request&passphrase=a%26b&latency=200&mode=caller');
  expect(given.get('streamid')).toBe('#!::r=cam,m=request');
  expect(given.get('passphrase')).toBe('a&b');
  expect(given.get('latency')).toBe('200000');
  expect(given.get('mode')).toBe('caller');
  expect(query('srt://host:1').get('latency')).toBe('120000');
  for (const option of ['mode=listener', 'localaddr=0.0.0.0', 'mode=rendezvous', 'ffs=1'])
    expect(() => query(`srt://host:1?${option}`)).toThrow('is not taken');
});
