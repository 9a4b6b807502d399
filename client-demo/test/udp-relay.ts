import { createSocket, type Socket } from 'node:dgram';

/** A wire between a page and the server's ICE candidates that a test can cut: all UDP goes through here. */
export class UdpRelay {
  readonly #doors = new Map<number, { door: Socket; behind: Socket; port: number }>();
  #open = true;

  /** Packets are dropped while the relay is not open. */
  setOpen(open: boolean): void {
    this.#open = open;
  }

  /** SDP or a candidate line whose host candidates lead through the relay instead. */
  async rewrite(text: string): Promise<string> {
    const parts: string[] = [];
    let end = 0;
    for (const match of text.matchAll(/(candidate:\S+ \d udp \d+ )(\S+) (\d+)( typ host)/gi)) {
      const [whole, head = '', , port = '', tail = ''] = match;
      parts.push(text.slice(end, match.index), `${head}127.0.0.1 ${await this.#doorTo(Number(port))}${tail}`);
      end = match.index + whole.length;
    }
    return parts.join('') + text.slice(end);
  }

  close(): void {
    for (const { door, behind } of this.#doors.values()) {
      door.close();
      behind.close();
    }
    this.#doors.clear();
  }

  async #doorTo(serverPort: number): Promise<number> {
    const known = this.#doors.get(serverPort);
    if (known !== undefined) return known.port;
    const [door, behind] = [createSocket('udp4'), createSocket('udp4')];
    await Promise.all([bound(door), bound(behind)]);
    const { port } = door.address();
    this.#doors.set(serverPort, { door, behind, port });
    let client: { port: number; address: string } | undefined;
    door.on('message', (packet, from) => {
      client = from;
      if (this.#open) behind.send(packet, serverPort, '127.0.0.1');
    });
    behind.on('message', (packet) => {
      if (this.#open && client !== undefined) door.send(packet, client.port, client.address);
    });
    return port;
  }
}

function bound(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve));
}
