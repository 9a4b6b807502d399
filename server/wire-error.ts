import type { AppError, ErrorCode } from './errors.ts';

/** Why a request failed or a session ended: errors.ts, without what only the log should know. */
export interface WireError {
  code: string;
  message: string;
  remedy: string;
  retryable: boolean;
}

/**
 * What a client reads in place of messages that are written for the operator: those name paths, checksums and devices of the
 * server's machine. The log has the message and its context.
 */
const FOR_CLIENTS: Partial<Record<ErrorCode, string>> = {
  internal: 'The server met a defect while answering.',
  'config.invalid': 'The server has a wrong setting.',
  'config.unreadable': 'The server cannot read one of its files.',
  'model.notFound': "The server's model is not there.",
  'model.invalid': "The server's model cannot be used.",
  'model.run': "The server's model failed on this stream.",
  'engine.unavailable': "The server's engine is not available.",
  'engine.device': "The server's engine cannot use its device.",
  'engine.failed': "The server's device failed; the server restarts.",
  'weights.invalid': "The server's model cannot be used.",
  'download.failed': 'The server could not load a file.',
  'file.unreadable': 'The server cannot read a file.',
  'target.refused': 'The server may not connect to the target.',
  'target.unreachable': 'The server cannot reach the target.',
  'target.answer': 'The target sends something that the server cannot use.',
  'pipeline.crashed': "The stream's worker ended unexpectedly.",
};

/** What of an error a client may see. */
export function wireError(error: AppError): WireError {
  const message = FOR_CLIENTS[error.code];
  const remedy = message === undefined ? error.remedy : "The server's log has the reason.";
  return { code: error.code, message: message ?? error.message, remedy, retryable: error.retryable };
}
