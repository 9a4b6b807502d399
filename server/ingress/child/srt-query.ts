import { shownTarget } from '../../access/target-policy.ts';
import { AppError } from '../../errors.ts';

/** Of libav's options for SRT those that choose a stream and a key; all others are ours. */
const TAKEN = ['streamid', 'passphrase', 'pbkeylen', 'latency'];
const US_PER_MS = 1000;
const DEFAULT_LATENCY_MS = 120;

/**
 * The query for libav. `latency` is in milliseconds, as srt-live-transmit and OBS have it. A `#` begins most stream ids (`#!::r=cam`)
 * and need not be encoded.
 * @throws AppError target.refused for an option that is not taken
 */
export function srtQuery(url: URL, timeoutMs: number): string {
  const given = new Map<string, string>();
  for (const part of `${url.search}${url.hash}`.replace(/^\?/, '').split('&')) {
    if (part === '') continue;
    const at = part.indexOf('=');
    const [name, value] = at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)];
    if (name === 'mode' && value === 'caller') continue;
    if (!TAKEN.includes(name)) {
      throw new AppError(
        'target.refused',
        `The target ${shownTarget(url)} is refused: SRT's option ${name} is not taken.`,
        {
          remedy: `Use ${TAKEN.join(', ')}; the server is always the caller.`,
        },
      );
    }
    given.set(name, decoded(value));
  }
  const latencyMs = Number(given.get('latency') ?? DEFAULT_LATENCY_MS);
  given.set('latency', String(Math.min(8000, Math.max(0, Number.isFinite(latencyMs) ? latencyMs : 0)) * US_PER_MS));
  given.set('mode', 'caller');
  given.set('connect_timeout', String(timeoutMs));
  given.set('timeout', String(timeoutMs * US_PER_MS));
  return [...given].map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
