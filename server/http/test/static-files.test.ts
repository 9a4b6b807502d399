import { describe, expect, it } from 'vitest';
import { answerStatic, type StaticFile } from '../static-files.ts';

const file: StaticFile = { body: Buffer.from('0123456789'), type: 'text/plain', etag: '"abc"' };
const range = (value: string) => {
  const answer = answerStatic(file, { range: value });
  return answer.status === 206 ? [206, answer.body.toString(), answer.contentRange] : [answer.status];
};

describe('answerStatic', () => {
  it.each([
    ['bytes=0-3', [206, '0123', 'bytes 0-3/10']],
    ['bytes=4-', [206, '456789', 'bytes 4-9/10']],
    ['bytes=-2', [206, '89', 'bytes 8-9/10']],
    ['bytes=-99', [206, '0123456789', 'bytes 0-9/10']],
    ['bytes=8-99', [206, '89', 'bytes 8-9/10']],
    ['bytes=9-9', [206, '9', 'bytes 9-9/10']],
    ['bytes=10-', [416]],
    ['bytes=-0', [416]],
    ['bytes=99999999999-', [416]],
    ['bytes=5-4', [416]],
    ['bytes=0-1,3-4', [200]],
    ['bytes=-', [200]],
    ['bytes=a-b', [200]],
    ['lines=0-1', [200]],
  ])('%s', (value, expected) => {
    expect(range(value)).toEqual(expected);
  });

  it('says how long the file is when a range lies outside', () => {
    expect(answerStatic(file, { range: 'bytes=10-' })).toEqual({ status: 416, contentRange: 'bytes */10' });
  });

  it('answers 304 to a validator that fits, before any range', () => {
    for (const validator of ['"abc"', 'W/"abc"', '"x", "abc"', '*']) {
      expect(answerStatic(file, { 'if-none-match': validator, range: 'bytes=0-1' })).toEqual({ status: 304 });
    }
    expect(answerStatic(file, { 'if-none-match': '"x"' }).status).toBe(200);
  });

  it('gives a range only of the file that the client has begun', () => {
    expect(answerStatic(file, { range: 'bytes=0-1', 'if-range': '"abc"' }).status).toBe(206);
    expect(answerStatic(file, { range: 'bytes=0-1', 'if-range': '"old"' }).status).toBe(200);
  });
});
