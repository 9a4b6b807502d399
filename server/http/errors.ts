import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../errors.ts';
import { refuseSocket } from '../raw-response.ts';
import { wireError } from '../wire-error.ts';
import { errorPage, wantsHtml } from './error-page.ts';
import { PAGE_HEADERS } from './page-headers.ts';

/**
 * Every answer that is an error has the catalogue's form, also where fastify or Node refuse before a route is found; a browser
 * that loads a page gets the same as HTML.
 */
export function sendError(reply: FastifyReply, error: AppError): FastifyReply {
  if (error.status === 503) reply.header('Retry-After', '2');
  // RFC 9110 section 11.6.1: every 401 names the scheme.
  if (error.status === 401) reply.header('WWW-Authenticate', 'Bearer');
  reply
    .code(error.status)
    .header('Cache-Control', 'no-store')
    .header('X-Content-Type-Options', 'nosniff')
    .header('Vary', 'Accept');
  const { method, headers } = reply.request;
  if (wantsHtml(method, headers.accept)) {
    const page = errorPage({ ...wireError(error), status: error.status });
    return reply.headers(PAGE_HEADERS).header('Content-Type', 'text/html; charset=utf-8').send(page);
  }
  return reply.header('Content-Type', 'application/json; charset=utf-8').send(JSON.stringify(wireError(error)));
}

/** fastify's own errors carry a status: too large, wrong content type, malformed JSON, a URL that does not decode. */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const { statusCode, message } = thrown as { statusCode?: number; message?: string };
  if (statusCode === 413) return new AppError('request.tooLarge', message ?? 'Request too large.', { cause: thrown });
  if (statusCode === 415) {
    return new AppError('request.mediaType', message ?? 'The type of the body is not taken here.', { cause: thrown });
  }
  if (statusCode !== undefined && statusCode < 500) {
    return new AppError('request.malformed', (message ?? 'Malformed request.').slice(0, 300), { cause: thrown });
  }
  return AppError.from(thrown);
}

/** RFC 9112 section 3.2: HTTP/1.x with exactly one Host field in HTTP/1.1. Node joins or drops repeated ones; proxies may pick another. */
export function checkRequest({ raw }: FastifyRequest): void {
  if (raw.httpVersionMajor !== 1) {
    throw new AppError('request.malformed', `HTTP/${raw.httpVersion} is not spoken here; HTTP/1.1 is.`);
  }
  const hosts = raw.rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host').length;
  if (hosts > 1) throw new AppError('request.malformed', `The request has ${hosts} Host fields; one is allowed.`);
  if (hosts === 0 && raw.httpVersion === '1.1') {
    throw new AppError('request.malformed', 'The request has no Host field.');
  }
}

const PARSE_ERRORS: Readonly<
  Record<string, { status: number; code: 'request.tooLarge' | 'request.malformed'; text: string }>
> = {
  HPE_HEADER_OVERFLOW: { status: 431, code: 'request.tooLarge', text: 'The header fields are too large.' },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, code: 'request.malformed', text: 'The request did not arrive in time.' },
};

/** What Node's parser refuses or what did not arrive in time: no request object exists, the socket is all there is. */
export function onClientError(cause: Error & { code?: string }, socket: Socket): AppError | undefined {
  if (cause.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return undefined;
  }
  const { status, code, text } = PARSE_ERRORS[cause.code ?? ''] ?? {
    status: 400,
    code: 'request.malformed',
    text: 'The request is not valid HTTP.',
  };
  const error = new AppError(code, text, { cause });
  refuseSocket(socket, error, status);
  return error;
}
