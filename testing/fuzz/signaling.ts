import { EventEmitter } from 'node:events';
import type { Writable } from 'node:stream';
import * as ws from 'ws';
import { PROTOCOL_VERSION, type ServerMessage } from '../../server/signaling/protocol.ts';
import { ClientSocket } from '../../server/signaling/client-socket.ts';
import { accessFor } from '../access-for.ts';
import { FakeSessions } from '../signaling/fake-sessions.ts';
import { check, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

/** One valid message of each kind, and some that are valid JSON alone. */
const SEEDS = [
  { type: 'hello', id: 1, version: PROTOCOL_VERSION },
  { type: 'publish', id: 2, name: 'stage', sdp: 'v=0\r\n', resumeToken: 'token' },
  { type: 'watch', id: 3, name: 'stage', sdp: 'v=0\r\n' },
  { type: 'restart', id: 4, session: 'session-1', sdp: 'v=0\r\n' },
  { type: 'candidate', id: 5, session: 'session-1', candidate: { candidate: '', sdpMid: '0', sdpMLineIndex: 0 } },
  { type: 'leave', id: 6, session: 'session-1' },
  { type: 'list', id: 7, subscribe: true },
  { type: 'ping', id: 8 },
  { type: 'hello', id: 9, version: PROTOCOL_VERSION, token: 'a.b.c' },
  { type: 'share', id: 10, name: 'stage' },
].map((message) => JSON.stringify(message));

/** Values that other programs stumble over, in the place of any value. */
const ODD_VALUES = [
  ...['null', 'true', '-1', '1e999', '9007199254740993', '1.5', '""', '"__proto__"', '[]', '{}', '[[[]]]'],
  ...['{"__proto__":{"type":"list"}}', '"\\ud800"', '"\\u0000"', `"${'a'.repeat(2000)}"`],
  ...[
    '['.repeat(40) + ']'.repeat(40),
    '{"a":'.repeat(3000) + '1' + '}'.repeat(3000),
    '['.repeat(5000) + ']'.repeat(5000),
  ],
];

function mutateMessage(random: Random): string {
  const seed = random.pick(SEEDS);
  switch (random.int(4)) {
    case 0:
      return random.mutate(Buffer.from(seed)).toString('utf8');
    case 1:
      return seed.replace(/(?<=:)("[^"]*"|\d+|true)/g, (value) => (random.oneIn(3) ? random.pick(ODD_VALUES) : value));
    case 2:
      return seed.replace(
        '{',
        `{${JSON.stringify(random.pick(['type', 'id', '__proto__', 'x']))}:${random.pick(ODD_VALUES)},`,
      );
    default:
      return random.oneIn(2) ? seed : random.pick(ODD_VALUES);
  }
}

/** What ClientSocket uses of a WebSocket, sending into memory. */
class MemorySocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  readonly sent: ServerMessage[] = [];
  closeCode: number | undefined;
  send(text: string): void {
    this.sent.push(JSON.parse(text) as ServerMessage);
  }
  ping(): void {}
  close(code: number): void {
    this.closeCode = code;
    this.readyState = 3;
  }
  terminate(): void {
    this.close(1006);
  }
}

const ACCESS = accessFor();

/** A connected client; its messages are not limited in number here. */
class FuzzedClient {
  readonly socket = new MemorySocket();
  readonly errors: string[] = [];

  constructor() {
    new ClientSocket({
      socket: this.socket as unknown as ws.WebSocket,
      sessions: new FakeSessions(),
      access: ACCESS,
      remoteAddress: '192.0.2.1',
      serverName: 'fuzz',
      maxMessageBytes: 128 * 1024,
      maxMessagesPerSecond: 1e9,
      helloTimeoutMs: 2 ** 30,
      onError: ({ code, message }) => this.errors.push(`${code} ${message}`),
    });
    this.socket.emit('message', Buffer.from(SEEDS[0] ?? ''), false);
    this.socket.sent.length = 0;
  }

  /** Nothing a client sends may look like a defect of the server, or make a message that is large. */
  checkAfter(what: string): void {
    const { closeCode, sent } = this.socket;
    check(closeCode !== 1011 && !this.errors.some((error) => error.startsWith('internal')), `a defect by ${what}`);
    for (const message of sent) check(JSON.stringify(message).length < 4096, `a reply of more than 4 kB to ${what}`);
  }

  end(): void {
    this.socket.emit('close');
  }
}

const MESSAGES_PER_CLIENT = 50;

export const SIGNALING_JSON: FuzzTarget = {
  name: 'signaling-json',
  about: 'mutated protocol messages: each is answered or refused with an error of the catalogue, never a defect',
  open() {
    let client = new FuzzedClient();
    let left = MESSAGES_PER_CLIENT;
    return (random) => {
      if (left === 0 || client.socket.closeCode !== undefined) {
        client.end();
        client = new FuzzedClient();
        left = MESSAGES_PER_CLIENT;
      }
      left -= 1;
      const text = mutateMessage(random);
      client.errors.length = 0;
      client.socket.sent.length = 0;
      client.socket.emit('message', Buffer.from(text), random.oneIn(50));
      client.checkAfter(text.slice(0, 200));
    };
  },
};

/** RFC 6455 section 5.2: a masked frame of a client, sometimes with header bits that are not allowed. */
function frame(random: Random, payload: Buffer): Buffer {
  const opcode = random.oneIn(4) ? random.int(16) : random.pick([1, 1, 1, 0, 8, 9]);
  const fin = random.oneIn(4) ? 0 : 0x80;
  const reserved = random.oneIn(30) ? 0x40 : 0;
  const masked = random.oneIn(30) ? 0 : 0x80;
  const announced = random.oneIn(20) ? random.int(2 ** 31) : payload.length;
  const head = Buffer.alloc(announced < 126 ? 2 : announced < 65_536 ? 4 : 10);
  head[0] = fin | reserved | opcode;
  head[1] = masked | (announced < 126 ? announced : announced < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(announced, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(announced), 2);
  return Buffer.concat([head, ...(masked === 0 ? [] : [Buffer.alloc(4)]), payload]);
}

/** Exported by ws, missing in its types. */
const { Receiver } = ws as unknown as {
  Receiver: new (options: { isServer: boolean; maxPayload: number }) => Writable;
};

export const WEBSOCKET_FRAMES: FuzzTarget = {
  name: 'ws-frames',
  about:
    'mutated WebSocket frames around mutated messages, in pieces of any size: errors end one socket, nothing throws',
  open() {
    let client = new FuzzedClient();
    let reader: Writable | undefined;
    let ended = true;
    return (random) => {
      if (ended || reader === undefined) {
        ended = false;
        client.end();
        client = new FuzzedClient();
        reader = new Receiver({ isServer: true, maxPayload: 512 * 1024 });
        const { socket } = client;
        reader.on('message', (data: Buffer, isBinary: boolean) => socket.emit('message', data, isBinary));
        reader.on('error', () => (ended = true));
        reader.on('conclude', () => (ended = true));
      }
      const bytes = frame(random, Buffer.from(mutateMessage(random)));
      const sent = random.oneIn(5) ? random.mutate(bytes) : bytes;
      const cut = random.int(sent.length + 1);
      for (const part of [sent.subarray(0, cut), sent.subarray(cut)]) if (!reader.errored) reader.write(part);
      client.checkAfter(`frame ${sent.subarray(0, 40).toString('hex')}`);
      client.errors.length = 0;
      client.socket.sent.length = 0;
      ended ||= reader.errored !== null || client.socket.closeCode !== undefined || random.oneIn(100);
    };
  },
};

export const SIGNALING_TARGETS: readonly FuzzTarget[] = [SIGNALING_JSON, WEBSOCKET_FRAMES];
