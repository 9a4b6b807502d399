import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { StubbornSocket, upgradeRequest } from '../../testing/hostile/sockets.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';
import { TestClient } from '../../testing/signaling/test-client.ts';

/** Attacks on /ws by a client that has not even greeted, against the server as a process. */
const servers: ServerProcess[] = [];
afterAll(async () => {
  for (const server of servers) await server.kill();
});

async function started(...args: string[]): Promise<ServerProcess> {
  const server = await ServerProcess.start({ args });
  servers.push(server);
  return server;
}

const webSocketUrl = (server: ServerProcess): string => `${server.url.replace('http', 'ws')}/ws`;

const clients: StubbornSocket[] = [];
afterEach(() => {
  for (const { socket } of clients.splice(0)) socket.destroy();
});

describe('one text frame', () => {
  it('with a "type" that nests 5000 deep, before hello, gets an error; the process serves on', async () => {
    const server = await started();
    const client = await TestClient.open(webSocketUrl(server));
    client.send(`{"type":${'['.repeat(5000)}${']'.repeat(5000)}}`);
    expect(await client.get('error')).toMatchObject({ code: 'request.malformed' });
    client.send({ type: 'hello', id: 0, version: 1 });
    await client.get('welcome');
    expect((await server.get('/healthz')).status).toBe(200);
    expect(server.exit).toBeUndefined();
    client.socket.terminate();
  });
});

describe.each(['127.0.0.1', '0.0.0.0'])('Origin and Host on %s', (host) => {
  let server: ServerProcess;
  beforeAll(async () => {
    server = await started('--host', host, '--access.mode', 'open');
  });
  const onLoopback = host === '127.0.0.1';

  it.each([
    ['none', undefined, 'localhost:PORT', 101],
    ['null', 'null', 'localhost:PORT', 403],
    ['the same', 'http://localhost:PORT', 'localhost:PORT', 101],
    ['upper case', 'HTTP://LOCALHOST:PORT', 'LocalHost:PORT', 101],
    ['another port', 'http://localhost:1', 'localhost:PORT', 403],
    ['another host', 'http://evil.example', 'localhost:PORT', 403],
    ['a longer host', 'http://localhost:PORT.evil.example', 'localhost:PORT', 403],
    ['user information', 'http://localhost:PORT@evil.example', 'localhost:PORT', 403],
    ['DNS rebinding', 'http://evil.example:PORT', 'evil.example:PORT', onLoopback ? 403 : 101],
    ['rebinding, 127. as a label', 'http://127.evil.example:PORT', '127.evil.example:PORT', onLoopback ? 403 : 101],
    [
      'rebinding, an address as labels',
      'http://127.0.0.1.evil.example:PORT',
      '127.0.0.1.evil.example:PORT',
      onLoopback ? 403 : 101,
    ],
    ['an IPv6 address', 'http://[::1]:PORT', '[::1]:PORT', 101],
    ['empty', '', 'localhost:PORT', 403],
    ['no port', 'http://localhost', 'localhost', 101],
    ['two hosts in one', 'http://localhost:PORT', 'evil.example, localhost:PORT', 403],
    ['a trailing dot', 'http://evil.example.:PORT', 'evil.example.:PORT', onLoopback ? 403 : 101],
  ])('%s', async (_what, origin, hostHeader, status) => {
    const fill = (text: string): string => text.replace('PORT', String(server.port));
    const headers = origin === undefined ? [] : [`Origin: ${fill(origin)}`];
    const request = upgradeRequest('/ws', headers).replace('Host: localhost', `Host: ${fill(hostHeader)}`);
    const client = await StubbornSocket.open(server.port, { send: request });
    clients.push(client);
    while (client.text === '' && !client.gone) await sleep(10);
    expect(client.text.slice(9, 12)).toBe(String(status));
  });
});

/** RFC 6455 section 5.2, masked with zeros. */
function frame(
  opcode: number,
  payload: Buffer,
  { fin = true, mask = true, reserved = 0, length = payload.length } = {},
): Buffer {
  const first = (fin ? 0x80 : 0) | reserved | opcode;
  const bit = mask ? 0x80 : 0;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = bit | (length < 126 ? length : length < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, ...(mask ? [Buffer.alloc(4)] : []), payload]);
}

describe('frames against RFC 6455 and the limits', () => {
  let server: ServerProcess;
  beforeAll(async () => {
    server = await started();
  });

  /** The first close code or error code that comes back. */
  async function answerTo(bytes: Buffer): Promise<string> {
    const client = await StubbornSocket.open(server.port, { send: upgradeRequest('/ws') });
    clients.push(client);
    while (!client.text.includes('\r\n\r\n')) await sleep(5);
    client.socket.write(bytes);
    for (let waited = 0; waited < 20_000; waited += 20) {
      const answer = Buffer.from(client.text.slice(client.text.indexOf('\r\n\r\n') + 4), 'latin1');
      if (answer.length >= 4 && ((answer[0] ?? 0) & 15) === 8) return `close ${answer.readUInt16BE(2)}`;
      const code = /"code":"([a-zA-Z.]+)"|"type":"(welcome)"/.exec(answer.toString('latin1'));
      if (code !== null) return code[1] ?? code[2] ?? '';
      await sleep(20);
    }
    return 'nothing';
  }

  const hello = Buffer.from('{"type":"hello","id":1,"version":1}');
  const fragments = Buffer.concat(
    [...hello].map((byte, index) =>
      frame(index === 0 ? 1 : 0, Buffer.from([byte]), { fin: index === hello.length - 1 }),
    ),
  );
  it.each([
    ['invalid UTF-8', frame(1, Buffer.from([0xc3, 0x28])), 'close 1007'],
    ['an unmasked frame', frame(1, Buffer.from('{}'), { mask: false }), 'close 1002'],
    ['a reserved bit', frame(1, Buffer.from('{}'), { reserved: 0x40 }), 'close 1002'],
    ['a reserved opcode', frame(3, Buffer.from('{}')), 'close 1002'],
    ['a fragmented control frame', frame(9, Buffer.from('x'), { fin: false }), 'close 1002'],
    ['a ping of 126 bytes', frame(9, Buffer.alloc(126)), 'close 1002'],
    ['2^53 - 1 bytes announced', frame(1, Buffer.from('x'), { length: 2 ** 53 - 1 }), 'close 1009'],
    ['600 kB', frame(1, Buffer.alloc(600_000, 97)), 'close 1009'],
    ['200 kB', frame(1, Buffer.alloc(200_000, 97)), 'request.tooLarge'],
    ['binary', frame(2, Buffer.from('{}')), 'request.malformed'],
    ['a continuation of nothing', frame(0, Buffer.from('{}')), 'close 1002'],
    ['hello in one-byte fragments', fragments, 'welcome'],
    ['a bad close code', frame(8, Buffer.from([0, 1])), 'close 1002'],
  ])('%s: %3$s', async (_what, bytes, expected) => {
    expect(await answerTo(bytes)).toBe(expected);
  });

  it('20000 empty fragments: closed', async () => {
    const many = Array.from({ length: 20_000 }, (_, index) =>
      frame(index === 0 ? 1 : 0, Buffer.alloc(0), { fin: false }),
    );
    expect(await answerTo(Buffer.concat(many))).toMatch(/^close 10(08|09)$/);
  });

  it('a flood of messages of 100 kB: closed with 4429, others are answered meanwhile', async () => {
    const client = await TestClient.greeted(webSocketUrl(server));
    const message = JSON.stringify({
      type: 'publish',
      id: 1,
      name: 'x',
      sdp: 'a'.repeat(60_000),
      junk: 'b'.repeat(30_000),
    });
    for (let sent = 0; sent < 600; sent += 1) client.send(message);
    expect((await server.get('/healthz')).status).toBe(200);
    expect(await client.closed).toMatchObject({ code: 4429 });
  });

  it('offers no compression', async () => {
    const offered = upgradeRequest('/ws', ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits']);
    const client = await StubbornSocket.open(server.port, { send: offered });
    clients.push(client);
    while (!client.text.includes('\r\n\r\n')) await sleep(5);
    expect(client.text).toMatch(/^HTTP\/1\.1 101 /);
    expect(client.text).not.toMatch(/Sec-WebSocket-Extensions/i);
  });
});

describe('X-Forwarded-For', () => {
  const forms = [
    '1.2.3.4',
    '::ffff:1.2.3.4',
    '::ffff:102:304',
    '::FFFF:1.2.3.4',
    '0:0:0:0:0:ffff:1.2.3.4',
    '[::ffff:1.2.3.4]:80',
    '1.2.3.4:99',
  ];
  const longForms = [
    '2001:db8:0:1::1',
    '2001:0DB8:0000:0001::2',
    '[2001:db8:0:1::3]:123',
    '2001:db8:0:1:0:0:1.2.3.4',
    '2001:db8:0:1::1.2.3.4',
    '2001:db8:0:1::5%eth0',
  ];
  it.each([
    ['false', 'a forged value each time', (index: number) => `1.2.3.${index}`],
    ['1', 'a forged part before the proxy’s', (index: number) => `1.2.3.${index}, 9.9.9.9`],
    [
      '["127.0.0.0/8"]',
      'a forged part before trusted proxies',
      (index: number) => `1.2.3.${index}, 9.9.9.9, 127.0.0.5`,
    ],
    ['["10.0.0.0/8"]', 'a peer that is not trusted', (index: number) => `1.2.3.${index}`],
    ['1', 'text that is no address', (index: number) => `evil${index}`],
    ['1', 'many addresses of one /64', (index: number) => `2001:db8:0:1::${index.toString(16)}`],
    ['1', 'spellings of one IPv6 network', (index: number) => longForms[index % longForms.length] ?? ''],
    ['1', 'spellings of one IPv4 address', (index: number) => forms[index % forms.length] ?? ''],
  ])('trustProxy %s, %s: counted as one address', async (trust, _what, header) => {
    const server = await started('--limits.maxConnectionsPerAddress', '5', '--http.trustProxy', trust);
    const sockets: WebSocket[] = [];
    let refused = 0;
    for (let index = 0; index < 14; index += 1) {
      const socket = new WebSocket(webSocketUrl(server), { headers: { 'x-forwarded-for': header(index) } });
      sockets.push(socket);
      socket.on('message', (data: Buffer) => (refused += data.toString().includes('request.tooMany') ? 1 : 0));
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    }
    await expect.poll(() => refused, { timeout: 20_000 }).toBe(9);
    for (const socket of sockets) socket.terminate();
    await server.kill();
  });
});

describe.each(['text', 'json'])('the log as %s', (format) => {
  it("carries no control character of a client's SDP, name or Origin", async () => {
    const server = await started('--log.format', format, '--log-level', 'debug');
    const client = await TestClient.greeted(webSocketUrl(server));
    const hostile = '\u001b[2J\u001b[31mFAKE\u0007 a\u001b]0;title\u0007b\u009b31m \u202e';
    client.send({ type: 'publish', id: 1, name: 'esc', sdp: `v=0\r\n${hostile}\r\n` });
    await client.get('error');
    client.send({ type: hostile, id: 2 });
    await client.get('error', ({ re }) => re === 2 || re === undefined);
    client.send({ type: 'watch', id: 3, name: hostile, sdp: 'x' });
    await sleep(1200);
    client.send({ type: 'publish', id: 4, name: 'esc', sdp: `v=0\r\nm=video 1 ${hostile}\r\n` });
    await client.get('error', ({ re }) => re === 4);
    // Both offers of id 1 and 4 are in it: no earlier part of the log is missing.
    await expect.poll(() => server.log.match(/signaling\.error/g)?.length, { timeout: 20_000 }).toBeGreaterThan(1);
    // eslint-disable-next-line no-control-regex
    expect(server.log).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    client.socket.terminate();
  });
});
