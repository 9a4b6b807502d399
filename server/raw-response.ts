import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { AppError } from './errors.ts';
import { wireError } from './wire-error.ts';

/** The longest that a client may take to read why it was refused. */
const LINGER_MS = 5000;

/**
 * Answers on a socket that no HTTP response object owns (a refused upgrade, RFC 6455 section 4.2.2; a request that does not
 * parse) and ends it: destroyed when the answer is out, or after LINGER_MS when the client does not read. A client that keeps
 * its half open would otherwise hold the descriptor, and the process, for as long as it likes.
 */
export function refuseSocket(socket: Duplex, error: AppError, status: number = error.status): void {
  if (socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(wireError(error));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Refused'}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    'X-Content-Type-Options: nosniff',
    'Cache-Control: no-store',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.once('finish', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
