import type { AppError } from './errors.ts';

/** Why a request failed or a session ended: errors.ts, without what only the log should know. */
export interface WireError {
  code: string;
  message: string;
  remedy: string;
  retryable: boolean;
}

/** What of an error a client may see: a defect's message can hold internals; the log has them. */
export function wireError(error: AppError): WireError {
  const message = error.code === 'internal' ? 'The server met a defect while answering.' : error.message;
  return { code: error.code, message, remedy: error.remedy, retryable: error.retryable };
}
