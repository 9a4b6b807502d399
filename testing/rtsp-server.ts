import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** What a test lets the server do wrong. */
export interface RtspFaults {
  /** DESCRIBE is answered with a redirect to this address. */
  redirectTo?: string;
  /** Added to the Transport header of SETUP's answer. */
  transportSuffix?: string;
}

interface Request {
  readonly method: string;
  readonly url: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/**
 * A small RTSP server (RFC 2326) for tests: one program announces and records a stream (`ffmpeg -f rtsp`), another plays it, over
 * TCP or UDP. User and password, when given, are asked for by Basic authentication.
 */
export class RtspServer {
  readonly faults: RtspFaults = {};
  /** Authorization header values of players. */
  readonly authorizations: string[] = [];
  readonly #server: Server;
  readonly #udp: UdpSocket = createSocket('udp4');
  readonly #sockets = new Set<Socket>();
  readonly #basic: string | undefined;
  #sdp: string | undefined;
  /** By the announcer's channel, where a player wants it. */
  readonly #routes = new Map<number, (data: Buffer) => void>();
  #playing = false;

  private constructor(credentials: string | undefined) {
    this.#basic = credentials === undefined ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** @param credentials `user:password` */
  static async open(credentials?: string): Promise<RtspServer> {
    const server = new RtspServer(credentials);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }
  get announced(): boolean {
    return this.#sdp !== undefined;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#udp.close();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
    let waiting = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      waiting = Buffer.concat([waiting, chunk]);
      for (;;) {
        if (waiting[0] === 0x24) {
          const length = waiting.length < 4 ? Infinity : 4 + waiting.readUInt16BE(2);
          if (waiting.length < length) return;
          if (this.#playing) this.#routes.get(waiting[1] ?? 0)?.(waiting.subarray(4, length));
          waiting = waiting.subarray(length);
          continue;
        }
        const request = parse(waiting);
        if (request === undefined) return;
        waiting = waiting.subarray(request.bytes);
        this.#answer(socket, request);
      }
    });
  }

  #answer(socket: Socket, { method, url, headers, body }: Request): void {
    const reply = (status: string, fields: Readonly<Record<string, string>> = {}, content = ''): void => {
      const lines = Object.entries({ CSeq: headers.get('cseq') ?? '0', ...fields }).map(
        ([name, value]) => `${name}: ${value}`,
      );
      const length = content === '' ? [] : [`Content-Length: ${Buffer.byteLength(content)}`];
      socket.write([`RTSP/1.0 ${status}`, ...lines, ...length, '', content].join('\r\n'));
    };
    const track = Number(/streamid=(\d+)/.exec(url)?.[1] ?? 0);
    switch (method) {
      case 'OPTIONS':
        return reply('200 OK', { Public: 'OPTIONS, DESCRIBE, SETUP, PLAY, ANNOUNCE, RECORD, TEARDOWN, GET_PARAMETER' });
      case 'ANNOUNCE':
        this.#sdp = body;
        return reply('200 OK');
      case 'DESCRIBE': {
        const authorization = headers.get('authorization');
        if (this.faults.redirectTo !== undefined) return reply('302 Found', { Location: this.faults.redirectTo });
        if (authorization !== undefined) this.authorizations.push(authorization);
        if (this.#basic !== undefined && authorization !== this.#basic) {
          return reply('401 Unauthorized', { 'WWW-Authenticate': 'Basic realm="test"' });
        }
        if (this.#sdp === undefined) return reply('404 Not Found');
        return reply('200 OK', { 'Content-Type': 'application/sdp', 'Content-Base': `${url}/` }, this.#sdp);
      }
      case 'SETUP': {
        const transport = headers.get('transport') ?? '';
        if (!/mode="?record/i.test(transport)) this.#route(socket, track, transport);
        const answer = `${transport}${this.faults.transportSuffix ?? ''}`;
        const ports = /client_port/.test(transport) ? `;server_port=${this.#udpPort()}-${this.#udpPort()}` : '';
        return reply('200 OK', { Transport: answer + ports, Session: '1' });
      }
      case 'PLAY':
        reply('200 OK', { Session: '1' });
        this.#playing = true;
        return;
      default:
        return reply('200 OK', { Session: '1' });
    }
  }

  /** The announcer's channels are 2n and 2n + 1, as libav numbers them. */
  #route(socket: Socket, track: number, transport: string): void {
    const [, channel] = /interleaved=(\d+)/.exec(transport) ?? [];
    const [, port] = /client_port=(\d+)/.exec(transport) ?? [];
    for (const part of [0, 1]) {
      this.#routes.set(track * 2 + part, (data) => {
        if (port !== undefined) return this.#udp.send(data, Number(port) + part, '127.0.0.1');
        const head = Buffer.from([0x24, Number(channel) + part, data.length >> 8, data.length & 0xff]);
        if (!socket.destroyed) socket.write(Buffer.concat([head, data]));
      });
    }
  }

  #udpPort(): number {
    return this.port;
  }
}

function parse(bytes: Buffer): (Request & { readonly bytes: number }) | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const headers = new Map(
    lines.map((line): [string, string] => {
      const at = line.indexOf(':');
      return [line.slice(0, at).trim().toLowerCase(), line.slice(at + 1).trim()];
    }),
  );
  const total = end + 4 + Number(headers.get('content-length') ?? 0);
  if (bytes.length < total) return undefined;
  const [method = '', url = ''] = first.split(' ');
  return { method, url, headers, body: bytes.toString('utf8', end + 4, total), bytes: total };
}
