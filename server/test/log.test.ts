import { describe, expect, it } from 'vitest';
import { createLog } from '../log.ts';

/** What a hostile SDP line, name or Origin may carry: clear screen, colours, window title, 8-bit CSI, overrides, a new line. */
const HOSTILE = '\u001b[2J\u001b[31mFAKE\u0007 \u009b31m \u001b]0;title\u0007 \u202eabc\u2066 \u2028 \u007f \r\nnext';

function logged(format: 'text' | 'json', fields: object): string {
  const lines: string[] = [];
  const log = createLog({ level: 'info', format }, { write: (line) => void lines.push(line) });
  log.warn(fields, 'signaling.error');
  return lines.join('');
}

describe.each(['text', 'json'] as const)('a log line as %s', (format) => {
  it("carries no control character of a client's text except its own new line", () => {
    const line = logged(format, { message: HOSTILE, [HOSTILE]: 1, context: { origin: HOSTILE } });
    expect(line.endsWith('\n')).toBe(true);
    // eslint-disable-next-line no-control-regex
    expect(line.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/);
    expect(line).toContain('\\u001b');
  });
});

it('a JSON line is still the same value', () => {
  expect(JSON.parse(logged('json', { message: HOSTILE }))).toMatchObject({ message: HOSTILE, msg: 'signaling.error' });
});

it('a text line keeps plain values bare and quotes those that have spaces', () => {
  expect(logged('text', { code: 'sdp.invalid', reason: 'no media section' })).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} warn {2}signaling\.error code=sdp\.invalid reason="no media section"\n$/,
  );
});
