import { pino, type DestinationStream, type Logger } from 'pino';
import type { Config } from './config/config.ts';

/** Logs are an event name plus fields: `log.info({ broadcast, viewers }, 'viewer.joined')`. */
export type Log = Logger;

const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info ',
  40: 'warn ',
  50: 'error',
  60: 'fatal',
};

/** One readable line an event, for a person at a terminal: time, level, event, fields. */
function textLine(json: string): string {
  const { level, time, msg, ...fields } = JSON.parse(json) as { level: number; time: number; msg?: string } & Record<
    string,
    unknown
  >;
  const clock = new Date(time).toISOString().slice(11, 23);
  const pairs = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value)}`,
  );
  return [clock, LEVELS[level] ?? String(level), msg ?? '', ...pairs].join(' ');
}

/**
 * Characters that change what a terminal shows or how a line reads: C0 and C1 controls (ECMA-48; ESC, and CSI as one
 * character), line separators, bidirectional marks and overrides (UAX 9), the byte order mark. Log fields carry clients' text.
 */
// eslint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** Each unsafe character as \uXXXX: readable in text, the same string again for a JSON parser. */
export function escapeControls(line: string): string {
  return line.replace(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** `text` for terminals, `json` for machines, `auto` decides by whether stdout is a terminal. */
export function createLog({ level, format }: Config['log'], out: DestinationStream = process.stdout): Log {
  const text = format === 'text' || (format === 'auto' && process.stdout.isTTY);
  const line = (json: string): string => escapeControls(text ? textLine(json) : json.trimEnd());
  return pino({ level, base: null }, { write: (json) => out.write(`${line(json)}\n`) });
}
