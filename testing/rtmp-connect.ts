import { createServer, type AddressInfo, type Socket } from 'node:net';

/** What an RTMP client says first (Adobe's RTMP 7.2.1.1). */
export interface RtmpConnect {
  readonly app: string;
  readonly tcUrl: string;
}

const HANDSHAKE_BYTES = 1536;
const CHUNK_BYTES = 128;
const MESSAGE_HEADER_BYTES = 12;

/** A server that shakes hands, keeps the first `connect` and hangs up. */
export class RtmpConnectServer {
  readonly connects: RtmpConnect[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#serve(socket));

  static async start(): Promise<RtmpConnectServer> {
    const server = new RtmpConnectServer();
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let received = Buffer.alloc(0);
    let greeted = false;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      // C0 and C1; then S0, S1 without a digest, S2.
      if (!greeted && received.length > HANDSHAKE_BYTES) {
        greeted = true;
        const c1 = received.subarray(1, 1 + HANDSHAKE_BYTES);
        socket.write(Buffer.concat([Buffer.of(3), Buffer.alloc(HANDSHAKE_BYTES), c1]));
      }
      const body = messageOf(received.subarray(1 + 2 * HANDSHAKE_BYTES));
      if (body === undefined) return;
      this.connects.push({ app: textOf(body, 'app'), tcUrl: textOf(body, 'tcUrl') });
      socket.destroy();
    });
  }
}

/** The first message, without the header that each of its chunks begins with; undefined until it is whole. */
function messageOf(stream: Buffer): Buffer | undefined {
  if (stream.length < MESSAGE_HEADER_BYTES) return undefined;
  const length = stream.readUIntBE(4, 3);
  const chunks: Buffer[] = [];
  let at = MESSAGE_HEADER_BYTES;
  for (let left = length; left > 0; left -= CHUNK_BYTES) {
    chunks.push(stream.subarray(at, at + Math.min(left, CHUNK_BYTES)));
    at += CHUNK_BYTES + 1;
  }
  const body = Buffer.concat(chunks);
  return body.length < length ? undefined : body;
}

/** A string property of an AMF 0 object. */
function textOf(body: Buffer, name: string): string {
  const key = Buffer.concat([Buffer.of(0, name.length), Buffer.from(name), Buffer.of(2)]);
  const at = body.indexOf(key);
  if (at < 0) return '';
  const begin = at + key.length + 2;
  return body.toString('utf8', begin, begin + body.readUInt16BE(begin - 2));
}
