import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TargetPolicy, type CheckedTarget } from '../target-policy.ts';
import { sendToTarget, type TargetRequest } from '../target-request.ts';

let server: Server;
let seen: IncomingMessage[];
let answer: (response: ServerResponse) => void;

beforeEach(async () => {
  seen = [];
  answer = (response) => response.end();
  server = createServer((request, response) => {
    seen.push(request);
    answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const policy = new TargetPolicy({ allow: ['127.0.0.1/32'] }, () => Promise.resolve([{ address: '127.0.0.1' }]));
const targetOf = (host: string): Promise<CheckedTarget> =>
  policy.resolve(`http://user:secret@${host}:${(server.address() as AddressInfo).port}/live?key=1`, ['http:']);

async function send(target: CheckedTarget, request: Partial<TargetRequest> = {}): Promise<number | undefined> {
  const signal = new AbortController().signal;
  const response = await sendToTarget(target, { method: 'GET', signal, ...request });
  response.destroy();
  return response.statusCode;
}

it('connects to the address that was checked, under the name that was written', async () => {
  const target = await targetOf('cam.example');
  expect(await send(target)).toBe(200);
  expect(seen[0]).toMatchObject({ method: 'GET', url: '/live?key=1', headers: { host: target.url.host } });
  // The address as the policy writes it, whatever form the URL has.
  expect(await send(await targetOf('[::ffff:127.0.0.1]'))).toBe(200);
});

it('sends user and password only when asked to, and a body with its length', async () => {
  const target = await targetOf('cam.example');
  await send(target, { method: 'POST', body: 'ü', headers: { accept: 'text/plain' } });
  expect(seen[0]?.headers).toMatchObject({ 'content-length': '2', accept: 'text/plain', connection: 'close' });
  expect(seen[0]?.headers.authorization).toBeUndefined();
  await send(target, { credentials: 'user:secret' });
  expect(seen[1]?.headers.authorization).toBe(`Basic ${Buffer.from('user:secret').toString('base64')}`);
  expect(seen[1]?.headers['content-length']).toBeUndefined();
});

it('ends by its signal, and when nothing comes', async () => {
  const target = await targetOf('cam.example');
  answer = () => undefined;
  await expect(send(target, { idleMs: 50 })).rejects.toThrow('no answer within 0.05 s');
  await expect(send(target, { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
});

it('ends when the target switches to another protocol in place of an answer', async () => {
  server.removeAllListeners('request');
  server.on('request', ({ socket }: IncomingMessage) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n');
  });
  await expect(send(await targetOf('cam.example'))).rejects.toThrow('without an answer');
});
