import { describe, expect, it } from 'vitest';
import { MAX_JSON_DEPTH, parseBoundedJson } from '../bounded-json.ts';

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

describe('parseBoundedJson', () => {
  it('takes JSON up to the depth allowed and refuses one level more', () => {
    expect(JSON.stringify(parseBoundedJson(nested(MAX_JSON_DEPTH)))).toBe(nested(MAX_JSON_DEPTH));
    expect(() => parseBoundedJson(nested(MAX_JSON_DEPTH + 1))).toThrow(/nests deeper than 32 levels/);
  });

  it('counts objects and arrays alike', () => {
    const mixed = '{"a":['.repeat(17) + '0' + ']}'.repeat(17);
    expect(() => parseBoundedJson(mixed)).toThrow(/nests deeper/);
  });

  it('does not count brackets inside strings, escaped quotes included', () => {
    const text = JSON.stringify({ sdp: `${'['.repeat(100)}"\\${'{'.repeat(100)}` });
    expect(parseBoundedJson(text)).toEqual(JSON.parse(text));
  });

  it('refuses text that is not JSON', () => {
    for (const text of ['', '{', '[1,]', 'undefined', '\\"', `"${'['.repeat(100)}`]) {
      expect(() => parseBoundedJson(text)).toThrow(/not JSON/);
    }
  });
});
