import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseInSlices, RequestTurns } from '../request-turns.ts';

describe('RequestTurns', () => {
  interface Client {
    readonly socket: Socket;
    readonly answered: number[];
    readonly responses: EventEmitter[];
    ask(path?: string): void;
  }

  /** Ten requests a second, 50 at once; time is set by hand. */
  function open(): {
    turns: RequestTurns;
    connect: (address?: string) => Client;
    at: (ms: number) => void;
    refused: () => number;
  } {
    let nowMs = 0;
    let refused = 0;
    const turns = new RequestTurns({
      limits: { maxRequestsPerSecond: 10 },
      trustProxy: false,
      onRefused: () => (refused += 1),
      nowMs: () => nowMs,
    });
    return {
      turns,
      at: (ms) => {
        nowMs = ms;
        turns.poll();
      },
      refused: () => refused,
      connect: (remoteAddress = '192.0.2.1') => {
        const socket = { remoteAddress, destroyed: false, destroy: () => (socket.destroyed = true) };
        const answered: number[] = [];
        const responses: EventEmitter[] = [];
        return {
          socket: socket as unknown as Socket,
          answered,
          responses,
          ask: (url = '/healthz') => {
            const response = new EventEmitter();
            const number = responses.push(response) - 1;
            const request = { socket, url, headers: {} } as unknown as IncomingMessage;
            turns.take(request, response as unknown as ServerResponse, () => {
              answered.push(number);
              response.emit('close');
            });
          },
        };
      },
    };
  }

  it('answers at once while the address has something left, then in its order at the rate', () => {
    const { connect, at } = open();
    const client = connect();
    for (let request = 0; request < 60; request += 1) client.ask();
    expect(client.answered).toHaveLength(50);
    at(500);
    expect(client.answered).toHaveLength(55);
    at(1000);
    expect(client.answered).toEqual([...Array(60).keys()]);
  });

  it('other addresses wait for nothing', () => {
    const { connect } = open();
    const [busy, other] = [connect(), connect('192.0.2.2')];
    for (let request = 0; request < 60; request += 1) busy.ask();
    other.ask();
    expect(other.answered).toEqual([0]);
  });

  it('another connection of the same address waits for one round, not for all that is before it', () => {
    const { connect, at } = open();
    const floods = Array.from({ length: 5 }, () => connect());
    for (let request = 0; request < 15; request += 1) for (const flood of floods) flood.ask();
    const honest = connect();
    honest.ask();
    expect(honest.answered).toEqual([]);
    at(600);
    expect(honest.answered).toEqual([0]);
    expect(floods.map(({ answered }) => answered.length)).toEqual([11, 11, 11, 11, 11]);
  });

  it('a page that describes the server counts as twenty requests', () => {
    const { connect, at } = open();
    const client = connect();
    for (let request = 0; request < 5; request += 1) client.ask('/metrics?x=1');
    expect(client.answered).toHaveLength(2);
    at(1000);
    expect(client.answered).toHaveLength(3);
  });

  it('ends a connection with more than 16 requests without an answer, and forgets what waited for it', () => {
    const { turns, connect, at, refused } = open();
    const busy = connect();
    for (let request = 0; request < 50; request += 1) busy.ask();
    const client = connect();
    for (let request = 0; request < 1000; request += 1) client.ask();
    expect([client.socket.destroyed, refused()]).toEqual([true, 1]);
    expect(turns.toJSON()).toEqual({ addresses: 1, waiting: 16 });
    at(10_000);
    expect(client.answered).toEqual([]);
    expect(turns.toJSON()).toEqual({ addresses: 1, waiting: 0 });
  });

  it('knows ten thousand addresses at most', () => {
    const { turns, connect } = open();
    for (let address = 0; address < 12_000; address += 1) connect(`10.0.${address >> 8}.${address & 255}`).ask();
    expect(turns.toJSON()).toEqual({ addresses: 10_000, waiting: 0 });
  });
});

describe('parseInSlices', () => {
  let server: Server;
  beforeEach(async () => {
    server = createServer();
    parseInSlices(server, 'connection');
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  /** Sends on with the first answer when there is something to `follow`. @returns all that came until the connection's end */
  function send(bytes: string, follow = ''): Promise<string> {
    return new Promise((resolve) => {
      let text = '';
      const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
      socket.on('error', () => undefined).on('close', () => resolve(text));
      socket.once('data', () => socket.write(follow));
      socket.on('data', (data: Buffer) => (text += data.toString()));
      socket.write(bytes);
    });
  }

  it('header fields and bodies of any length arrive whole', async () => {
    server.on('request', (request, response) => {
      let body = '';
      request.on('data', (data: Buffer) => (body += data.toString()));
      request.on('end', () => response.end(`${request.headers['x-long']?.length} ${body.length}`));
    });
    const head = `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Long: ${'x'.repeat(7000)}\r\n`;
    expect(await send(`${head}Content-Length: 90000\r\n\r\n${'b'.repeat(90_000)}`)).toContain('7000 90000');
  });

  it('what follows in the same bytes is not parsed once a request has ended the connection', async () => {
    let requests = 0;
    server.on('request', ({ socket }) => {
      requests += 1;
      socket.destroy();
    });
    await send('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(20_000));
    expect(requests).toBeLessThan(50);
  });

  it('an upgraded connection belongs to the code that takes it; bytes beyond the request end it', async () => {
    const heads: number[] = [];
    server.on('upgrade', (_request, socket: Socket, head: Buffer) => {
      heads.push(head.length);
      socket.on('error', () => undefined);
      socket.on('data', (data: Buffer) => socket.end(`got ${data.toString()}`));
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    });
    const request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n';
    expect(await send(request, 'hello')).toMatch(/got hello$/);
    expect(await send(request + 'x'.repeat(3000))).not.toContain('got');
    expect(heads[0]).toBe(0);
    expect(heads[1]).toBeLessThan(1024);
  });
});
