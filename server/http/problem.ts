import { STATUS_CODES } from 'node:http';
import type { FastifyReply } from 'fastify';
import type { AppError, ErrorCode } from '../errors.ts';
import { wireError, type WireError } from '../wire-error.ts';

/** Seconds after which the same request may succeed: players that wait for a broadcast ask often, a full server is full for longer. */
const RETRY_AFTER_S: Partial<Record<ErrorCode, number>> = {
  'broadcast.notLive': 2,
  'server.full': 5,
  'engine.full': 5,
  'engine.memory': 5,
  'server.draining': 5,
  'request.tooMany': 2,
  'access.unavailable': 5,
};

/** An error as application/problem+json (RFC 9457), which RFC 9725 section 4.1 allows; the catalogue's fields are extensions of it. */
export function sendProblem(reply: FastifyReply, error: AppError): FastifyReply {
  return send(reply, error, wireError(error));
}

/** As sendProblem(), for whoever operates the server: messages name its files and targets, as the log does. */
export function sendOperatorProblem(reply: FastifyReply, error: AppError): FastifyReply {
  const { code, message, remedy, retryable } = error;
  return send(reply, error, code === 'internal' ? wireError(error) : { code, message, remedy, retryable });
}

function send(reply: FastifyReply, error: AppError, { message, ...extensions }: WireError): FastifyReply {
  const retryAfter = RETRY_AFTER_S[error.code];
  if (retryAfter !== undefined) reply.header('Retry-After', String(retryAfter));
  // RFC 9110 section 11.6.1: every 401 names the scheme.
  if (error.status === 401) reply.header('WWW-Authenticate', 'Bearer');
  // As bytes: fastify would add a charset, which the type does not have (RFC 9457 section 9).
  const title = STATUS_CODES[error.status] ?? 'Error';
  return reply
    .code(error.status)
    .header('Cache-Control', 'no-store')
    .header('Content-Type', 'application/problem+json')
    .send(
      Buffer.from(JSON.stringify({ type: 'about:blank', title, status: error.status, detail: message, ...extensions })),
    );
}
