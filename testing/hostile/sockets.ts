import { connect, type Socket } from 'node:net';

/** A client that never closes its half and goes on when the server closes the other: what it read is kept as text. */
export class StubbornSocket {
  readonly socket: Socket;
  #text = '';
  #gone = false;

  private constructor(socket: Socket, reads: boolean) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('end', () => undefined);
    socket.on('close', () => (this.#gone = true));
    if (reads) socket.on('data', (data: Buffer) => (this.#text += data.toString('latin1')));
    else socket.pause();
  }

  /** @param reads false: takes nothing from the kernel's buffer, so the server's writes stand still */
  static open(port: number, { send = '', reads = true }: { send?: string | Buffer; reads?: boolean } = {}) {
    return new Promise<StubbornSocket>((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => {
        const stubborn = new StubbornSocket(socket, reads);
        if (send.length > 0) socket.write(send);
        resolve(stubborn);
      });
      socket.once('error', reject);
    });
  }

  get text(): string {
    return this.#text;
  }

  get gone(): boolean {
    return this.#gone;
  }
}

/** The upgrade request of a WebSocket. */
export function upgradeRequest(path: string, headers: readonly string[] = []): string {
  return [
    `GET ${path} HTTP/1.1`,
    'Host: localhost',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
    '\r\n',
  ].join('\r\n');
}
