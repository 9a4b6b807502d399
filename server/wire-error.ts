import type { AppError } from './errors.ts';
import type { WireError } from './signaling/protocol.ts';

/** What of an error a client may see: a defect's message can hold internals; the log has them. */
export function wireError(error: AppError): WireError {
  const message = error.code === 'internal' ? 'The server met a defect while answering.' : error.message;
  return { code: error.code, message, remedy: error.remedy, retryable: error.retryable };
}
