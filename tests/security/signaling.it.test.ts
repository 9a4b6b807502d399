import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestClient } from '../../testing/signaling/test-client.ts';
import { ServerProcess } from '../../testing/server-process.ts';

/** Attacks on /ws by a client that has not even greeted, against the server as a process. */
let server: ServerProcess;
beforeAll(async () => {
  server = await ServerProcess.start();
});
afterAll(() => server.kill());

const webSocketUrl = (): string => `${server.url.replace('http', 'ws')}/ws`;

describe('one text frame', () => {
  it('with a "type" that nests 5000 deep, before hello, gets an error; the process serves on', async () => {
    const client = await TestClient.open(webSocketUrl());
    client.send(`{"type":${'['.repeat(5000)}${']'.repeat(5000)}}`);
    expect(await client.get('error')).toMatchObject({ code: 'request.malformed' });
    client.send({ type: 'hello', id: 0, version: 1 });
    await client.get('welcome');
    expect((await server.get('/healthz')).status).toBe(200);
    expect(server.exit).toBeUndefined();
    client.socket.terminate();
  });
});
