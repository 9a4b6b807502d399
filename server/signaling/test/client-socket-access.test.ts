import { EventEmitter } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';
import { accessFor } from '../../../testing/access-for.ts';
import { FakeSessions } from '../../../testing/signaling/fake-sessions.ts';
import { makeToken, tokenHash } from '../../access/static-tokens.ts';
import { ClientSocket } from '../client-socket.ts';
import type { ServerMessage } from '../protocol.ts';

/** What a client of the WebSocket may do and see by its token; no sockets. */
class FakeSocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  readonly sent: ServerMessage[] = [];
  send(text: string): void {
    this.sent.push(JSON.parse(text) as ServerMessage);
  }
  close(): void {}
  terminate(): void {}
}

const owner = makeToken();
const viewer = makeToken();
const tokens = [
  { name: 'owner', hash: tokenHash(owner), publish: ['stage'] },
  { name: 'viewer', hash: tokenHash(viewer), watch: ['lobby/*'] },
];
const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const end of cleanup.splice(0)) end();
});

function connect(sessions = new FakeSessions(), settings: object = { mode: 'tokens', tokens }) {
  const socket = new FakeSocket();
  const connection = new ClientSocket({
    socket: socket as unknown as WebSocket,
    sessions,
    access: accessFor({ failureDelayMs: 0, ...settings }),
    ...{ remoteAddress: '203.0.113.9', serverName: 'test', maxMessageBytes: 1000, maxMessagesPerSecond: 1000 },
    helloTimeoutMs: 60_000,
    onError: () => {},
  });
  cleanup.push(() => socket.emit('close'));
  let id = 0;
  const say = (...messages: object[]): Promise<string[]> => {
    const first = id;
    for (const message of messages) {
      id += 1;
      socket.emit('message', Buffer.from(JSON.stringify({ id, ...message })), false);
    }
    // Answers in the order in which they came, one for each message.
    return expect
      .poll(() => replies(first).length)
      .toBe(messages.length)
      .then(() => replies(first));
  };
  const replies = (after: number): string[] =>
    socket.sent.flatMap((message) =>
      're' in message && message.re !== undefined && message.re > after
        ? [message.type === 'error' ? message.code : message.type]
        : [],
    );
  const hello = (token?: string): object => ({ type: 'hello', version: 1, ...(token === undefined ? {} : { token }) });
  return { socket, connection, say, hello, sessions };
}

const publish = (name: string) => ({ type: 'publish', name, sdp: 'offer' });
const watch = (name: string) => ({ type: 'watch', name, sdp: 'offer' });

describe('hello', () => {
  it.each([
    ['no token', undefined],
    ['a wrong token', makeToken()],
  ])('with %s is refused before what comes behind it, and another may follow', async (_what, token) => {
    const { say, hello } = connect();
    expect(await say(hello(token), publish('stage'))).toEqual(['request.unauthorized', 'request.state']);
    expect(await say(hello(owner), publish('stage'))).toEqual(['welcome', 'published']);
  });

  it('with a token is waited for by what was sent at once behind it', async () => {
    const { say, hello } = connect();
    expect(await say(hello(owner), publish('stage'), { type: 'ping' })).toEqual(['welcome', 'pong', 'published']);
  });
});

describe('a token', () => {
  it('is for its names: one that exists and one that does not are refused alike', async () => {
    const sessions = new FakeSessions();
    const first = connect(sessions);
    await first.say(first.hello(owner), publish('stage'));
    const { say, hello, socket } = connect(sessions);
    expect(await say(hello(viewer), watch('stage'), watch('nothing'), publish('lobby/a'))).toEqual([
      'welcome',
      ...['request.forbidden', 'request.forbidden', 'request.forbidden'],
    ]);
    const texts = socket.sent.flatMap((message) => (message.type === 'error' ? [{ ...message, re: 0 }] : []));
    expect(JSON.stringify(texts[0]).replaceAll('stage', 'nothing')).toBe(JSON.stringify(texts[1]));
    expect(sessions.requests).toHaveLength(1);
    expect(await say(watch('lobby/a'))).toEqual(['watching']);
  });

  it('lets whoever publishes see what comes of it', async () => {
    const { say, hello } = connect();
    expect(await say(hello(owner), watch('stage'))).toEqual(['welcome', 'request.forbidden']);
    expect(await say(publish('stage'))).toEqual(['published']);
    expect(await say(watch('stage'))).toEqual(['watching']);
  });

  it('decides what is in the list, asked for and pushed', async () => {
    const sessions = new FakeSessions();
    sessions.capacity = 3;
    const first = connect(sessions, { mode: 'open' });
    for (const name of ['stage', 'lobby/a']) await sessions.publish({ ...publishRequest, name }, sink);
    expect(await first.say(first.hello(), { type: 'list' })).toEqual(['welcome', 'broadcasts']);
    const { say, hello, socket, connection } = connect(sessions);
    await say(hello(viewer), { type: 'list', subscribe: true });
    connection.pushList(sessions.list());
    const lists = socket.sent.flatMap((message) => (message.type === 'broadcasts' ? [message.broadcasts] : []));
    expect(lists.map((list) => list.map(({ name }) => name))).toEqual([['lobby/a'], ['lobby/a']]);
  });
});

const sink = { onState: () => {}, onStats: () => {}, onCandidate: () => {} };
const publishRequest = { sdp: 'offer', resumeToken: undefined, tokenKind: 'own', remoteAddress: '::1' } as const;

it('a link is made for a name that the token may publish, and watches that name alone', async () => {
  const access = accessFor({ mode: 'tokens', tokens, failureDelayMs: 0 });
  const request = { address: '203.0.113.9' } as const;
  const { token } = await access.makeLink('stage');
  await expect(
    access.authorize({ ...request, action: 'watch', name: 'stage', credential: token }),
  ).resolves.toBeDefined();
  await expect(
    access.authorize({ ...request, action: 'publish', name: 'stage', credential: token }),
  ).rejects.toMatchObject({ status: 403 });
  const { say, hello } = connect();
  expect(await say(hello(viewer), { type: 'share', name: 'lobby/a' })).toEqual(['welcome', 'request.forbidden']);
  expect(await say(hello(owner), { type: 'share', name: 'stage' })).toEqual(['welcome', 'shared']);
  const open = connect(new FakeSessions(), { mode: 'open' });
  expect(await open.say(open.hello(), { type: 'share', name: 'stage' })).toEqual(['welcome', 'request.state']);
});

it('credentials of TURN servers are for those whom a hook has let in', async () => {
  const sessions = new FakeSessions();
  sessions.iceServers = [{ urls: 'turn:turn.example.org', username: 'u', credential: 'secret' }];
  const { say, hello, socket } = connect(sessions, { mode: 'webhook', webhookUrl: 'http://127.0.0.1:1/' });
  expect(await say(hello('token'))).toEqual(['welcome']);
  expect(JSON.stringify(socket.sent)).not.toContain('secret');
  expect(await say(watch('stage'))).toEqual(['access.unavailable']);
});

it('credentials of TURN servers are not for a token that neither publishes nor watches', async () => {
  const sessions = new FakeSessions();
  sessions.iceServers = [{ urls: 'turn:turn.example.org', username: 'u', credential: 'secret' }];
  const token = makeToken();
  const monitor = { mode: 'tokens', tokens: [...tokens, { name: 'monitor', hash: tokenHash(token), metrics: true }] };
  const first = connect(sessions, monitor);
  expect(await first.say(first.hello(token))).toEqual(['welcome']);
  expect(JSON.stringify(first.socket.sent)).not.toContain('secret');
  const second = connect(sessions, monitor);
  expect(await second.say(second.hello(viewer))).toEqual(['welcome']);
  expect(JSON.stringify(second.socket.sent)).toContain('secret');
});
