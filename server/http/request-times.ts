import type { IncomingMessage, Server } from 'node:http';

/**
 * How long a request may take to arrive, behind its header fields. Node has one time for all of a server's requests, and a file takes
 * longer than an offer: whoever has checked that a client may send one asks for more.
 */
export class RequestTimes {
  readonly #server: Server;
  readonly #timers = new WeakMap<IncomingMessage, NodeJS.Timeout>();

  /** @param mostMs of a request that nobody asked more for */
  constructor(server: Server, mostMs: number) {
    this.#server = server;
    // Before whoever answers it, and may ask for more at once.
    server.prependListener('request', (request: IncomingMessage) => {
      const { 'content-length': length = '0', 'transfer-encoding': coding } = request.headers;
      // What has no body is complete with its header fields.
      if (coding === undefined && length === '0') return;
      this.mayLast(request, mostMs);
      const forget = (): void => clearTimeout(this.#timers.get(request));
      request.once('end', forget);
      request.once('close', forget);
    });
  }

  /** From now on. */
  mayLast(request: IncomingMessage, ms: number): void {
    clearTimeout(this.#timers.get(request));
    if (request.complete) return;
    const late = (): void => {
      if (request.complete) return;
      // As Node's own limit: server.ts answers 408.
      const error = Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
      this.#server.emit('clientError', error, request.socket);
    };
    this.#timers.set(request, setTimeout(late, ms).unref());
  }
}
