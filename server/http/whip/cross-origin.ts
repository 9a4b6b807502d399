import type { FastifyReply, FastifyRequest } from 'fastify';
import { isLoopbackHost } from '../../access/address.ts';
import { checkOrigin } from '../../access/origin.ts';
import type { Config } from '../../config/config.ts';

/** Headers of answers that a page may read, and of requests that it may send (Fetch, section 3.2). */
const EXPOSED = 'Location, ETag, Link, Retry-After, Accept-Patch, Accept-Post, WWW-Authenticate';
const ACCEPTED = 'Authorization, Content-Type, If-Match, Link';
const PREFLIGHT_SECONDS = '600';

/** The preflight of a page, which is answered without credentials, links or anything of the session. */
export function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
}

/**
 * Players and publishers on other sites: the rule of the WebSocket, `http.allowedOrigins`. Answers to a page of an allowed
 * origin say so; a program sends no Origin.
 * @throws AppError request.origin
 */
export function allowOrigin({ headers }: FastifyRequest, reply: FastifyReply, http: Config['http']): void {
  const { origin, host } = headers;
  const { allowedOrigins } = http;
  checkOrigin({ origin, host }, { allowedOrigins, loopbackOnly: isLoopbackHost(http.host) });
  reply.header('Vary', 'Origin').header('Access-Control-Expose-Headers', EXPOSED);
  if (origin !== undefined) {
    reply.header('Access-Control-Allow-Origin', allowedOrigins.includes('*') ? '*' : origin);
  }
}

/** What both kinds of OPTIONS say: MediaMTX looks for PATCH here before it trickles. */
export function allowMethods(reply: FastifyReply, methods: readonly string[]): FastifyReply {
  return reply
    .header('Access-Control-Allow-Methods', methods.join(', '))
    .header('Access-Control-Allow-Headers', ACCEPTED)
    .header('Access-Control-Max-Age', PREFLIGHT_SECONDS);
}
