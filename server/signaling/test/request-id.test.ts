import { describe, expect, it } from 'vitest';
import { countWork } from '../../../testing/count-work.ts';
import { findRequestId } from '../request-id.ts';

const find = (text: string) => findRequestId(Buffer.from(text));

describe('findRequestId', () => {
  it.each([
    ['a whole request', '{"type":"list","id":7}', 7],
    ['white space', '{ "type" : "list" ,\n "id"\t: 7 \r\n}', 7],
    ['text that is cut off behind the id', '{"id":7,"type":', 7],
    ['an id behind a string with quotes and brackets', '{"sdp":"}]\\"\\\\","id":7}', 7],
    ['an id behind what nests too deep', `{"a":${'['.repeat(5000)}${']'.repeat(5000)},"id":7}`, 7],
    ['the largest', '{"id":9007199254740991}', 2 ** 53 - 1],
    ['too large a number', '{"id":9007199254740993}', undefined],
    ['digits that are cut off', '{"id":7', undefined],
    ['a negative number', '{"id":-7}', undefined],
    ['a fraction', '{"id":7.5}', undefined],
    ['a string', '{"id":"7"}', undefined],
    ['an id inside another object', '{"session":{"id":7}}', undefined],
    ['an id inside a list', '[{"id":7}]', undefined],
    ['an id as a value', '{"type":"id"}', undefined],
    ['an id inside a string', '{"sdp":"\\"id\\":7,"}', undefined],
    ['no object', '"id":7}', undefined],
    ['nothing', '', undefined],
  ])('%s', (_what, text, id) => {
    expect(find(text)).toBe(id);
  });

  it('looks at no more than 64 bytes for each string that could be the key', () => {
    const near = (count: number) => Buffer.from(`{${'"id":x,'.repeat(count)}}`);
    const [small, large] = [near(1000), near(2000)].map((json) => countWork(() => findRequestId(json)));
    expect(large).toBeGreaterThan(0);
    expect(large).toBeLessThanOrEqual(2.1 * (small ?? 0));
    expect(large).toBeLessThanOrEqual(2000 * 64);
  });
});
