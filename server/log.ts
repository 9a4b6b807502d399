import { pino, type Logger, type DestinationStream } from 'pino';
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
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return [clock, LEVELS[level] ?? String(level), msg ?? '', ...pairs].join(' ');
}

/** `text` for terminals, `json` for machines, `auto` decides by whether stdout is a terminal. */
export function createLog({ level, format }: Config['log']): Log {
  const text = format === 'text' || (format === 'auto' && process.stdout.isTTY);
  const stream: DestinationStream = text
    ? { write: (line) => void process.stdout.write(`${textLine(line)}\n`) }
    : { write: (line) => void process.stdout.write(line) };
  return pino({ level, base: null }, stream);
}
