import { DtlsFailure } from './failure.ts';
import { AlertDescription, AlertLevel, alertName } from './protocol.ts';

/** An alert (RFC 5246 section 7.2) of the peer that may end the session. */
export interface EndingAlert {
  /** close_notify: the session is over, and nothing went wrong. */
  readonly closing: boolean;
  readonly failure: DtlsFailure;
}

/** @returns `warning` for those that end nothing, `malformed` for what is none */
export function readAlert(content: Buffer): EndingAlert | 'warning' | 'malformed' {
  const [level, description] = content;
  if (content.length !== 2 || level === undefined || description === undefined) return 'malformed';
  const closing = description === AlertDescription.close_notify;
  if (!closing && level !== AlertLevel.fatal) return 'warning';
  const message = `The peer ended the session: ${alertName(description)}.`;
  return { closing, failure: new DtlsFailure('close_notify', 'peerAlert', message) };
}
