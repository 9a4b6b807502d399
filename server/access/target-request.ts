import { request as requestHttp, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import type { CheckedTarget } from './target-policy.ts';

export interface TargetRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** `user:password` for Basic (RFC 7617). Those of the URL are left out: a redirect may have brought them. */
  readonly credentials?: string | undefined;
  /** Ends the request, and the answer while it is read. */
  readonly signal: AbortSignal;
  /** A connection that carries nothing for this long is ended. */
  readonly idleMs?: number;
}

/**
 * One HTTP request to an address that was checked, on a connection of its own; nothing is followed, nothing is kept open. Node
 * checks the certificate.
 * @returns the head of the answer; its reader ends it
 * @throws Error of Node: no connection, no answer in time, aborted
 */
export function sendToTarget(
  { url, lookup, addresses }: CheckedTarget,
  request: TargetRequest,
): Promise<IncomingMessage> {
  const { method, headers = {}, body, credentials, signal, idleMs } = request;
  const name = url.hostname.replace(/^\[|\]$/g, '');
  const own = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const sent = (url.protocol === 'https:' ? requestHttps : requestHttp)({
      method,
      // Node does not look up an address; it is the checked one in its canonical form.
      hostname: isIP(name) === 0 ? name : addresses[0],
      port: url.port,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, 'user-agent': 'FlashVSR Live', ...own, ...headers },
      lookup,
      // A pooled connection would have been checked for another request.
      agent: false,
      signal,
      ...(credentials !== undefined && { auth: credentials }),
      ...(idleMs !== undefined && { timeout: idleMs }),
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${(idleMs ?? 0) / 1000} s`)));
    sent.on('response', resolve);
    sent.on('error', reject);
    // After 101, for which nobody asked, Node closes the connection without an error, and no signal ends the wait any more.
    sent.on('close', () => reject(new Error('it closed the connection without an answer')));
    sent.end(body);
  });
}
