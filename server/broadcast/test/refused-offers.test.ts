import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { whipEndpoints } from '../../../testing/whip-endpoints.ts';
import { ClientSocket } from '../../signaling/client-socket.ts';
import { World, recordingSink } from './fakes.ts';
import { accessFor } from '../../../testing/access-for.ts';

/** Both ways in, over the domain with fake peers and without sockets: "bad" is an offer that the peer refuses. */
let world: World;
const cleanup: (() => unknown)[] = [];
beforeEach(() => {
  world = new World({ argv: ['--limits.maxBroadcastsPerAddress', '1'] });
});
afterEach(async () => {
  for (const end of cleanup.splice(0)) await end();
});

async function byWhip(): Promise<(name: string, sdp: string) => Promise<boolean>> {
  const { app } = await whipEndpoints(world.sessions);
  cleanup.push(() => app.close());
  return async (name, sdp) => {
    const headers = { host: 'h', 'content-type': 'application/sdp' };
    const response = await app.inject({ method: 'POST', url: `/whip/${name}`, payload: sdp, headers });
    return response.statusCode === 201;
  };
}

async function byWebSocket(): Promise<(name: string, sdp: string) => Promise<boolean>> {
  const socket = Object.assign(new EventEmitter(), {
    OPEN: 1,
    readyState: 1,
    bufferedAmount: 0,
    replies: [] as string[],
    close() {},
    terminate() {},
    send(text: string) {
      const { type, re } = JSON.parse(text) as { type: string; re?: number };
      if (re !== undefined) this.replies.push(type);
    },
  });
  const connection = new ClientSocket({
    socket: socket as unknown as WebSocket,
    sessions: world.sessions,
    access: accessFor(),
    remoteAddress: '127.0.0.1',
    serverName: 'test',
    maxMessageBytes: 1000,
    maxMessagesPerSecond: 20,
    helloTimeoutMs: 1000,
    onError: () => {},
  });
  cleanup.push(() => socket.emit('close'));
  expect(connection.sessions).toBe(0);
  const say = async (message: object): Promise<string | undefined> => {
    socket.emit('message', Buffer.from(JSON.stringify(message)), false);
    await new Promise((resolve) => setImmediate(resolve));
    return socket.replies.at(-1);
  };
  await say({ type: 'hello', id: 1, version: 1 });
  return async (name, sdp) => (await say({ type: 'publish', id: 2, name, sdp })) === 'published';
}

it.each([
  ['WHIP', byWhip],
  ['the WebSocket', byWebSocket],
])('by %s: a refused offer ends no older session of its address, one that is taken does', async (_way, open) => {
  const older = recordingSink();
  await world.offer('older', older);
  const publish = await open();
  for (const name of ['newer', 'older', 'newer']) expect(await publish(name, 'bad')).toBe(false);
  expect(older.states.at(-1)?.state).toBe('waiting');
  expect(await publish('newer', 'offer')).toBe(true);
  expect(older.states.at(-1)).toEqual({ state: 'ended', code: 'request.tooMany' });
});
