import { EventEmitter } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { ClientSocket } from '../client-socket.ts';
import type { ServerMessage } from '../protocol.ts';
import { FakeSessions, someStats } from '../../../testing/signaling/fake-sessions.ts';
import { accessFor } from '../../../testing/access-for.ts';

/** A socket whose send buffer is as full as a test says. */
class FakeSocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  readonly sent: ServerMessage['type'][] = [];
  last: ServerMessage | undefined;
  terminated = false;
  closeCode: number | undefined;
  close(code: number): void {
    this.closeCode = code;
  }
  send(text: string): void {
    this.last = JSON.parse(text) as ServerMessage;
    this.sent.push(this.last.type);
  }
  ping(): void {}
  terminate(): void {
    this.terminated = true;
    this.readyState = 3;
    this.emit('close');
  }
}

let socket: FakeSocket;
afterEach(() => socket.terminate());

async function watching(
  maxMessageBytes = 1000,
): Promise<{ sessions: FakeSessions; connection: ClientSocket; errors: string[] }> {
  socket = new FakeSocket();
  const sessions = new FakeSessions();
  const errors: string[] = [];
  const connection = new ClientSocket({
    socket: socket as unknown as WebSocket,
    sessions,
    access: accessFor(),
    remoteAddress: '127.0.0.1',
    serverName: 'test',
    maxMessageBytes,
    maxMessagesPerSecond: 20,
    helloTimeoutMs: 1000,
    onError: ({ code }) => errors.push(code),
  });
  for (const message of [
    { type: 'hello', id: 1, version: 1 },
    { type: 'watch', id: 2, name: 'a', sdp: 'offer' },
  ]) {
    socket.emit('message', Buffer.from(JSON.stringify(message)), false);
  }
  await new Promise((resolve) => setImmediate(resolve));
  expect(socket.sent).toEqual(['welcome', 'watching']);
  socket.sent.length = 0;
  return { sessions, connection, errors };
}

describe('a client that reads slowly', () => {
  it('misses stats and lists, which come again, but no state', async () => {
    const { sessions, connection } = await watching();
    const [sink] = sessions.sinks.values();
    socket.bufferedAmount = 100 * 1024;
    sink?.onStats(someStats);
    connection.pushText('{"type":"broadcasts"}');
    sink?.onState('paused', 'no picture');
    expect(socket.sent).toEqual(['state']);
    socket.bufferedAmount = 0;
    sink?.onStats(someStats);
    expect(socket.sent).toEqual(['state', 'stats']);
  });

  it('is cut when megabytes wait for it, and its session ends', async () => {
    const { sessions } = await watching();
    const [sink] = sessions.sinks.values();
    socket.bufferedAmount = 5 * 1024 * 1024;
    sink?.onState('live', 'picture');
    expect(socket.terminated).toBe(true);
    expect(sessions.left).toMatchObject([{ cause: 'disconnected' }]);
  });
});

describe('a defect while one frame is handled', () => {
  it('is reported and closes this socket with 1011 instead of leaving the event handler', async () => {
    const { errors } = await watching();
    socket.send = () => {
      throw new RangeError('Maximum call stack size exceeded');
    };
    expect(() => socket.emit('message', Buffer.from('not json'), false)).not.toThrow();
    expect(errors).toEqual(['request.malformed', 'internal']);
    expect(socket.closeCode).toBe(1011);
  });
});

describe('a message above the rate', () => {
  it('is answered with an error of its id, without being parsed; a binary frame has none', async () => {
    await watching();
    const flood = (frame: Buffer, isBinary: boolean) => {
      socket.sent.length = 0;
      for (let sent = 0; sent < 1000 && !socket.sent.includes('error'); sent += 1)
        socket.emit('message', frame, isBinary);
      return socket.last;
    };
    expect(flood(Buffer.from('{"type":"ping","id":77}'), false)).toMatchObject({ code: 'request.tooMany', re: 77 });
    expect(flood(Buffer.from('{"type":"ping","id":78}'), true)).not.toHaveProperty('re');
  });
});

describe('ping and pong frames', () => {
  it.each(['ping', 'pong'])('a flood of %s is cut and counted; a few a second are not', async (frame) => {
    const { sessions, errors } = await watching();
    for (let sent = 0; sent < 20; sent += 1) socket.emit(frame, Buffer.alloc(0));
    expect(socket.terminated).toBe(false);
    let sent = 0;
    while (!socket.terminated && sent < 1000) {
      socket.emit(frame, Buffer.alloc(0));
      sent += 1;
    }
    expect(socket.terminated).toBe(true);
    expect(errors).toEqual(['request.tooMany']);
    expect(sessions.left).toMatchObject([{ cause: 'disconnected' }]);
    for (let more = 0; more < 100; more += 1) socket.emit(frame, Buffer.alloc(0));
    expect(errors).toHaveLength(1);
  });
});

describe('keys that the protocol does not know', () => {
  const emit = (text: string) => socket.emit('message', Buffer.from(text), false);

  it('pollute nothing: neither the requests behind them nor other objects', async () => {
    const { sessions } = await watching();
    const polluting = '"waits":true,"constructor":{"prototype":{"polluted":1}}';
    emit(`{"type":"watch","id":3,"name":"b","sdp":"offer","__proto__":{"polluted":1,"tracks":"source"},${polluting}}`);
    emit('{"__proto__":{"type":"watch","id":4,"name":"c","sdp":"offer"}}');
    await new Promise((resolve) => setImmediate(resolve));
    expect(socket.sent.sort()).toEqual(['error', 'watching']);
    expect(sessions.requests.at(-1)).toMatchObject({ name: 'b', tracks: 'page' });
    expect(sessions.requests).toHaveLength(2);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  it('cost one pass each: 5000 of them, known or repeated ones', async () => {
    const { errors } = await watching(128 * 1024);
    const many = (key: (index: number) => string) => Array.from({ length: 5000 }, (_, at) => `"${key(at)}":1`).join();
    emit(`{"type":"ping","id":3,${many((at) => `key${at}`)}}`);
    emit(`{"type":"ping",${many(() => 'id')}}`);
    emit(`{"type":"watch","id":4,${many((at) => `key${at}`)}}`);
    expect(socket.sent).toEqual(['pong', 'pong', 'error']);
    expect(errors).toEqual(['request.malformed']);
  });
});
