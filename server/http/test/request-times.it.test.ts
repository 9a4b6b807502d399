import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { until } from '../../../testing/until.ts';
import { RequestTimes } from '../request-times.ts';

let server: Server;
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.close();
});

/** A request whose body comes in part. */
async function begin(path: string): Promise<{ socket: Socket; text: () => string }> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  sockets.push(socket);
  let text = '';
  socket.on('data', (data: Buffer) => (text += data.toString()));
  socket.on('error', () => undefined);
  socket.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab`);
  return { socket, text: () => text };
}

it('a body that does not come in time ends its request, unless more time was asked for', async () => {
  let late = 0;
  const asked: string[] = [];
  server = createServer({ requestTimeout: 0 }, (request, response) => {
    asked.push(request.url ?? '');
    if (request.url === '/file') times.mayLast(request, 600_000);
    request.on('end', () => response.end('whole')).resume();
  });
  const times = new RequestTimes(server, 100);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // A connection that is cut is reported, too.
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') late += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const file = await begin('/file');
  await until(() => asked.includes('/file'));
  // Begun later, over before: the time of the first one would have been over, too.
  const other = await begin('/other');
  await until(() => other.socket.destroyed);
  expect(late).toBe(1);
  expect(file.socket.destroyed).toBe(false);
  file.socket.write('cd');
  await until(() => file.text().includes('whole'));

  // What is complete is not ended afterwards, however long its connection stays.
  const third = await begin('/third');
  third.socket.write('cd');
  await until(() => third.text().includes('whole'));
  const last = await begin('/last');
  await until(() => last.socket.destroyed);
  expect(third.socket.destroyed).toBe(false);
});
