import { createServer, connect as connectTcp, isIP, type AddressInfo, type Server, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { shownTarget, type CheckedTarget } from '../../access/target-policy.ts';
import { AppError } from '../../errors.ts';

/** Rewrites or ends what the target answers (rtsp-filter.ts). @throws AppError to end the connection */
export type AnswerFilter = (chunk: Buffer) => Buffer;

/**
 * One TCP connection for libav, on loopback: this process connects to the checked address, with TLS and its certificate checked by
 * Node, and libav knows no other address than this one. A second connection is not taken.
 */
export class Tunnel {
  readonly #server: Server;
  readonly #upstream: Socket;
  #client: Socket | undefined;
  #failure: AppError | undefined;

  private constructor(server: Server, upstream: Socket) {
    this.#server = server;
    this.#upstream = upstream;
  }

  /** @throws AppError target.unreachable */
  static async open(
    target: CheckedTarget,
    { port, secure, timeoutMs }: { port: number; secure: boolean; timeoutMs: number },
    filter: AnswerFilter = (chunk) => chunk,
  ): Promise<Tunnel> {
    const upstream = await connected(target, port, secure, timeoutMs);
    const server = createServer({ pauseOnConnect: true });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const tunnel = new Tunnel(server, upstream);
    server.on('connection', (client) => tunnel.#join(client, filter));
    upstream.on('error', (cause) => tunnel.#fail(unreachable(target, cause)));
    upstream.on('close', () => tunnel.#client?.end());
    return tunnel;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }
  get failure(): AppError | undefined {
    return this.#failure;
  }

  /** Idempotent. */
  close(): void {
    this.#server.close();
    this.#client?.destroy();
    this.#upstream.destroy();
  }

  #join(client: Socket, filter: AnswerFilter): void {
    if (this.#client !== undefined) {
      client.destroy();
      return;
    }
    this.#client = client;
    this.#server.close();
    client.on('error', () => this.#upstream.destroy());
    client.on('close', () => this.#upstream.destroy());
    client.pipe(this.#upstream, { end: false });
    this.#upstream.on('data', (chunk: Buffer) => {
      try {
        if (client.write(filter(chunk))) return;
        this.#upstream.pause();
        client.once('drain', () => this.#upstream.resume());
      } catch (thrown) {
        this.#fail(AppError.from(thrown, 'target.answer'));
      }
    });
  }

  #fail(error: AppError): void {
    this.#failure ??= error;
    this.#upstream.destroy();
    this.#client?.destroy();
  }
}

async function connected(target: CheckedTarget, port: number, secure: boolean, timeoutMs: number): Promise<Socket> {
  const { url, lookup, addresses } = target;
  const name = url.hostname.replace(/^\[|\]$/g, '');
  // An address is not looked up by Node; it is the checked one in its canonical form.
  const host = isIP(name) === 0 ? name : addresses[0];
  const socket = secure
    ? connectTls({ host, port, lookup, ...(isIP(host) === 0 ? { servername: host } : {}) })
    : connectTcp({ host, port, lookup });
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no connection within ${timeoutMs / 1000} s`)));
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(secure ? 'secureConnect' : 'connect', resolve);
      socket.once('error', reject);
    });
  } catch (cause) {
    socket.destroy();
    throw unreachable(target, cause as Error);
  }
  socket.setTimeout(0);
  socket.setNoDelay(true);
  return socket;
}

export function unreachable({ url }: Pick<CheckedTarget, 'url'>, cause: Error): AppError {
  const reason = (cause as NodeJS.ErrnoException).code ?? cause.message;
  return new AppError('target.unreachable', `${shownTarget(url)} cannot be reached: ${reason}.`, { cause });
}
