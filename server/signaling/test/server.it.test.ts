import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { configSchema } from '../../config/config.ts';
import { AppError, type ErrorCode } from '../../errors.ts';
import { SignalingServer, type SignalingOptions } from '../server.ts';
import { TestClient } from '../../../testing/signaling/test-client.ts';
import { FakeSessions, someStats } from '../../../testing/signaling/fake-sessions.ts';
import { until } from '../../../testing/until.ts';
import { accessFor } from '../../../testing/access-for.ts';

let http: Server;
let sessions: FakeSessions;
let signaling: SignalingServer;
let url: string;
let errors: ErrorCode[];

type Limits = Partial<SignalingOptions['config']['limits']>;

async function start(limits: Limits = {}, times: Partial<SignalingOptions> = {}, httpConfig = {}): Promise<void> {
  const config = configSchema.parse({ limits, http: httpConfig, access: { mode: 'open' } });
  sessions = new FakeSessions();
  errors = [];
  http = createServer((_request, response) => response.end('page'));
  signaling = new SignalingServer({
    server: http,
    sessions,
    access: accessFor(),
    config,
    log: { info: () => {}, warn: () => {} },
    serverName: 'FlashVSR Live test',
    observer: { onConnections: () => {}, onError: (code) => errors.push(code) },
    ...times,
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}/ws`;
}

beforeEach(() => start());
afterEach(async () => {
  vi.restoreAllMocks();
  await signaling.close(200);
  http.closeAllConnections();
  await new Promise((resolve) => http.close(resolve));
});

/** A second server with other limits; the first is closed by afterEach as usual. */
async function restartWith(limits: Limits, times: Partial<SignalingOptions> = {}, httpConfig = {}): Promise<void> {
  await signaling.close(0);
  await new Promise((resolve) => http.close(resolve));
  await start(limits, times, httpConfig);
}

describe('requests and replies', () => {
  it('says what the server is, publishes, watches, restarts, lists and leaves', async () => {
    const client = await TestClient.open(url);
    client.send({ type: 'hello', id: 1, version: 1 });
    expect(await client.get('welcome')).toMatchObject({ re: 1, server: 'FlashVSR Live test', model: { scale: 4 } });

    client.send({ type: 'publish', id: 2, name: 'stage', sdp: 'offer' });
    const published = await client.get('published');
    expect(published).toMatchObject({ re: 2, name: 'stage', sdp: 'answer', resumeToken: 'token-of-stage' });
    expect(sessions.requests[0]).toMatchObject({ name: 'stage', remoteAddress: '127.0.0.1' });

    client.send({ type: 'watch', id: 3, name: 'stage', sdp: 'offer' });
    const watching = await client.get('watching');
    expect(watching).toMatchObject({ re: 3, state: 'live' });
    expect(sessions.requests[1], 'the publisher’s own page').toMatchObject({ own: true });
    client.send({ type: 'show', id: 31, session: watching.session, result: true, source: false });
    await client.get('ok', (ok) => ok.re === 31);
    expect(sessions.shown).toEqual([{ session: watching.session, result: true, source: false }]);
    client.send({ type: 'show', id: 32, session: 'of another', result: true, source: false });
    expect(await client.get('error', (error) => error.re === 32)).toMatchObject({ code: 'request.unknownSession' });
    client.send({ type: 'watch', id: 33, name: 'other', sdp: 'offer', show: { result: true, source: false } });
    await client.get('watching', (reply) => reply.re === 33);
    expect(sessions.requests[2]).toMatchObject({ own: false, show: { result: true, source: false } });

    client.send({ type: 'restart', id: 4, session: published.session, sdp: 'again' });
    expect((await client.get('restarted')).sdp).toBe(`answer of ${published.session} to again`);

    const candidate = { candidate: 'candidate:1 1 udp 1 127.0.0.1 9 typ host', sdpMid: '0', sdpMLineIndex: 0 };
    client.send({ type: 'candidate', id: 5, session: published.session, candidate });
    await client.get('ok', (ok) => ok.re === 5);
    expect(sessions.candidates).toEqual([{ session: published.session, candidate }]);

    client.send({ type: 'list', id: 6 });
    expect(await client.get('broadcasts')).toMatchObject({ re: 6, capacity: { used: 1, total: 2 } });

    client.send({ type: 'leave', id: 7, session: published.session });
    await client.get('ok', (ok) => ok.re === 7);
    expect(sessions.left).toEqual([{ session: published.session, cause: 'request' }]);
    client.send({ type: 'leave', id: 8, session: published.session });
    expect(await client.get('error')).toMatchObject({ re: 8, code: 'request.unknownSession' });
  });

  it('sends errors of the domain with code, remedy and retryable, and hides what a defect says', async () => {
    const client = await TestClient.greeted(url);
    sessions.capacity = 0;
    client.send({ type: 'publish', id: 1, name: 'a', sdp: 'offer' });
    expect(await client.get('error')).toMatchObject({ re: 1, code: 'server.full', retryable: true });
    client.send({ type: 'publish', id: 2, name: 'a', sdp: 'crash' });
    const defect = await client.get('error');
    expect(defect).toMatchObject({ re: 2, code: 'internal' });
    expect(defect.message).not.toContain('secret');
    await client.stillUsable();
  });

  it('lets a publisher back in by its resume token only', async () => {
    const first = await TestClient.greeted(url);
    first.send({ type: 'publish', id: 1, name: 'mine', sdp: 'offer' });
    const { resumeToken } = await first.get('published');
    first.socket.terminate();
    const second = await TestClient.greeted(url);
    second.send({ type: 'publish', id: 1, name: 'mine', sdp: 'offer', resumeToken: 'guess' });
    expect(await second.get('error')).toMatchObject({ code: 'broadcast.nameTaken' });
    second.send({ type: 'publish', id: 2, name: 'mine', sdp: 'offer', resumeToken });
    expect(await second.get('published')).toMatchObject({ re: 2 });
  });

  it('allows one publish and sixteen watches for a socket, counting those under way', async () => {
    const client = await TestClient.greeted(url);
    client.send({ type: 'publish', id: 1, name: 'a', sdp: 'offer' });
    client.send({ type: 'publish', id: 2, name: 'b', sdp: 'offer' });
    expect(await client.get('error')).toMatchObject({ re: 2, code: 'request.state' });
    for (let id = 10; id < 27; id += 1) client.send({ type: 'watch', id, name: 'a', sdp: 'offer' });
    expect(await client.get('error')).toMatchObject({ re: 26, code: 'request.tooMany' });
    expect(sessions.requests).toHaveLength(17);
  });
});

describe('bad input: an error with a code, and the socket stays usable', () => {
  it.each([
    ['text that is not JSON', '{"type":', 'request.malformed'],
    ['a number', '42', 'request.malformed'],
    ['null', 'null', 'request.malformed'],
    ['an array', '[]', 'request.malformed'],
    ['no type', '{"id":1}', 'request.malformed'],
    ['an unknown type', '{"type":"shutdown","id":1}', 'request.malformed'],
    ['no id', '{"type":"list"}', 'request.malformed'],
    ['a negative id', '{"type":"list","id":-1}', 'request.malformed'],
    ['a wrong field type', '{"type":"publish","id":1,"name":7,"sdp":"x"}', 'request.malformed'],
    ['a name with a slash', '{"type":"watch","id":1,"name":"../etc","sdp":"x"}', 'request.malformed'],
    ['an empty SDP', '{"type":"watch","id":1,"name":"a","sdp":""}', 'request.malformed'],
    ['a type that nests 5000 deep', `{"type":${'['.repeat(5000)}${']'.repeat(5000)}}`, 'request.malformed'],
    ['a field that nests 33 deep', `{"type":"ping","id":${'['.repeat(32)}${']'.repeat(32)}}`, 'request.malformed'],
    ['a list as type', '{"type":["list"],"id":1}', 'request.malformed'],
    ['a prototype name as type', '{"type":"__proto__","id":1}', 'request.malformed'],
    ['a binary frame', Buffer.from([1, 2, 3]), 'request.malformed'],
    ['an unknown session', '{"type":"leave","id":1,"session":"unknown"}', 'request.unknownSession'],
  ])('%s', async (_what, message, code) => {
    const client = await TestClient.greeted(url);
    client.send(message);
    expect(await client.get('error')).toMatchObject({ code });
    await client.stillUsable();
    expect(errors).toEqual([code]);
  });

  it('names the field and answers to the id when there is one', async () => {
    const client = await TestClient.greeted(url);
    client.send({ type: 'publish', id: 9, name: 'two words', sdp: 'x' });
    const error = await client.get('error');
    expect(error.re).toBe(9);
    expect(error.message).toContain('name: letters, digits');
    client.send({ type: 'dance', id: 10 });
    expect((await client.get('error', ({ re }) => re === 10)).message).toContain('hello, publish, watch');
    client.send('{"id":11,"type":');
    expect((await client.get('error', ({ re }) => re === 11)).message).toContain('not JSON');
    client.send(`{"type":"ping","a":${'['.repeat(33)}${']'.repeat(33)},"id":12}`);
    expect((await client.get('error', ({ re }) => re === 12)).message).toContain('nests deeper');
  });

  it('refuses an oversize message but reads the next one', async () => {
    await restartWith({ maxMessageBytes: 2000 });
    const client = await TestClient.greeted(url);
    client.send({ type: 'watch', name: 'a', sdp: 'x'.repeat(3000), id: 1 });
    expect(await client.get('error')).toMatchObject({ re: 1, code: 'request.tooLarge' });
    await client.stillUsable();
  });

  it('closes the socket with 1009 at a message far beyond the limit, without reading it', async () => {
    await restartWith({ maxMessageBytes: 2000 });
    const client = await TestClient.greeted(url);
    client.send('x'.repeat(9000));
    expect(await client.closed).toMatchObject({ code: 1009 });
    expect(errors).toContain('request.malformed');
  });

  it('asks for hello first, closes on another version', async () => {
    const client = await TestClient.open(url);
    client.send({ type: 'list', id: 1 });
    expect(await client.get('error')).toMatchObject({ re: 1, code: 'request.state' });
    client.send({ type: 'hello', id: 2, version: 99 });
    expect(await client.get('error')).toMatchObject({ re: 2, code: 'request.version' });
    expect(await client.closed).toMatchObject({ code: 4400 });
  });

  it('does not let one socket touch the session of another', async () => {
    const owner = await TestClient.greeted(url);
    owner.send({ type: 'publish', id: 1, name: 'mine', sdp: 'offer' });
    const { session } = await owner.get('published');
    const thief = await TestClient.greeted(url);
    const attempts = [
      { type: 'leave', id: 1, session },
      { type: 'restart', id: 2, session, sdp: 'offer' },
      { type: 'candidate', id: 3, session, candidate: { candidate: '' } },
    ];
    for (const attempt of attempts) {
      thief.send(attempt);
      expect(await thief.get('error')).toMatchObject({ re: attempt.id, code: 'request.unknownSession' });
    }
    expect(sessions.left).toEqual([]);
    expect(sessions.candidates).toEqual([]);
  });
});

describe('limits', () => {
  it('answers a flood with request.tooMany, then cuts it; others go on', async () => {
    await restartWith({ maxMessagesPerSecond: 5 });
    const calm = await TestClient.greeted(url);
    const flooder = await TestClient.greeted(url);
    for (let id = 0; id < 60; id += 1) flooder.send({ type: 'ping', id });
    expect(await flooder.get('error')).toMatchObject({ code: 'request.tooMany', retryable: true });
    expect(flooder.socket.readyState).toBe(1);
    for (let id = 0; id < 100; id += 1) flooder.send({ type: 'ping', id });
    expect(await flooder.closed).toMatchObject({ code: 4429 });
    await calm.stillUsable();
  });

  it('limits connections of one address with a message a page can read, and frees them again', async () => {
    await restartWith({ maxConnectionsPerAddress: 2 });
    const [first] = [await TestClient.greeted(url), await TestClient.greeted(url)];
    const third = await TestClient.open(url);
    expect(await third.get('error')).toMatchObject({ code: 'request.tooMany' });
    expect(await third.closed).toMatchObject({ code: 1013 });
    first.socket.close();
    await first.closed;
    await until(() => signaling.connections === 1);
    await TestClient.greeted(url);
  });

  it('counts clients behind a trusted proxy by their own addresses', async () => {
    const from = (address: string) => ({ headers: { 'x-forwarded-for': address } });
    await restartWith({ maxConnectionsPerAddress: 1 }, {}, { trustProxy: ['127.0.0.0/8'] });
    await TestClient.greeted(url, from('203.0.113.1'));
    await TestClient.greeted(url, from('203.0.113.2'));
    const again = await TestClient.open(url, from('198.51.100.9, 203.0.113.1'));
    expect(await again.get('error')).toMatchObject({ code: 'request.tooMany' });
    await restartWith({ maxConnectionsPerAddress: 1 });
    await TestClient.greeted(url, from('203.0.113.1'));
    const untrusted = await TestClient.open(url, from('203.0.113.2'));
    expect(await untrusted.get('error')).toMatchObject({ code: 'request.tooMany' });
  });

  it('closes a socket that never says hello', async () => {
    await restartWith({}, { helloTimeoutMs: 30 });
    const client = await TestClient.open(url);
    expect(await client.closed).toMatchObject({ code: 4408 });
  });

  it('takes a client that answers no pings for dead, and ends its sessions', async () => {
    await restartWith({}, { heartbeatMs: 500 });
    const alive = await TestClient.greeted(url);
    const dead = await TestClient.greeted(url, { autoPong: false });
    dead.send({ type: 'watch', id: 1, name: 'a', sdp: 'offer' });
    const { session } = await dead.get('watching');
    expect(await dead.closed).toMatchObject({ code: 1006 });
    await until(() => sessions.left.length > 0);
    expect(sessions.left).toEqual([{ session, cause: 'disconnected' }]);
    await alive.stillUsable();
  });

  it('cuts a client that does not read, instead of holding its pushes in memory', async () => {
    const client = await TestClient.greeted(url);
    client.send({ type: 'watch', id: 1, name: 'a', sdp: 'offer' });
    const { session } = await client.get('watching');
    const sink = sessions.sinks.get(session);
    client.socket.pause();
    // Kernel buffers take a few MB; the server must neither hold the rest in memory nor wait without end.
    const huge = 'x'.repeat(256 * 1024);
    for (let round = 0; round < 400 && signaling.connections > 0; round += 1) {
      sink?.onState('live', huge);
      await new Promise((resolve) => setImmediate(resolve));
    }
    client.socket.resume();
    await until(() => signaling.connections === 0);
    expect(sessions.left).toEqual([{ session, cause: 'disconnected' }]);
  });
});

describe('the log', () => {
  it('has at most one warning a second and code, also after the wall clock went back an hour', async () => {
    const warned: unknown[] = [];
    const log = { info: () => {}, warn: (fields: unknown) => void warned.push(fields) };
    await restartWith({}, { log });
    const client = await TestClient.greeted(url);
    let nowMs = performance.now();
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    for (let sent = 0; sent < 5; sent += 1) client.send('not json');
    await client.stillUsable();
    expect(warned).toHaveLength(1);
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() - 3_600_000);
    nowMs += 999;
    client.send('not json');
    await client.stillUsable();
    expect(warned).toHaveLength(1);
    nowMs += 2;
    client.send('not json');
    await client.stillUsable();
    expect(warned).toHaveLength(2);
  });
});

describe('pushes', () => {
  it('delivers early pushes after the reply, then stats, states and the end', async () => {
    sessions.beforeReply = async (sink) => {
      sink.onCandidate({ candidate: 'early' });
      sink.onState('live', 'early');
    };
    const client = await TestClient.greeted(url);
    client.send({ type: 'watch', id: 1, name: 'a', sdp: 'offer' });
    await until(() => client.messages.length === 3);
    expect(client.messages.map(({ type }) => type)).toEqual(['watching', 'candidate', 'state']);
    const { session } = await client.get('watching');
    const sink = sessions.sinks.get(session);
    sink?.onStats(someStats);
    expect(await client.get('stats')).toMatchObject({ session, broadcast: { addedLatencyMs: { p50: 9 } } });
    sink?.onState('ended', 'replaced', new AppError('broadcast.nameTaken', 'Published from elsewhere.'));
    const end = await client.get('state', ({ state }) => state === 'ended');
    expect(end).toMatchObject({ session, error: { code: 'broadcast.nameTaken' } });
    expect(signaling.sessions).toBe(0);
    // A goodbye that crosses with it is no mistake; a second use is.
    client.send({ type: 'leave', id: 2, session });
    await client.get('ok', ({ re }) => re === 2);
    client.send({ type: 'restart', id: 3, session, sdp: 'offer' });
    expect(await client.get('error')).toMatchObject({ re: 3, code: 'request.unknownSession' });
    expect(sessions.left).toEqual([]);
  });

  it('pushes the list to subscribers only, on every change', async () => {
    const [subscriber, other] = [await TestClient.greeted(url), await TestClient.greeted(url)];
    subscriber.send({ type: 'list', id: 1, subscribe: true });
    await subscriber.get('broadcasts');
    sessions.capacity = 7;
    sessions.changeList();
    const push = await subscriber.get('broadcasts');
    expect(push.re).toBeUndefined();
    expect(push.capacity.total).toBe(7);
    await other.stillUsable();
    expect(other.messages).toEqual([]);
    subscriber.send({ type: 'list', id: 2, subscribe: false });
    await subscriber.get('broadcasts');
    sessions.changeList();
    await subscriber.stillUsable();
    expect(subscriber.messages).toEqual([]);
  });
});

describe('the end', () => {
  it('ends the sessions of a closed socket, also one whose publish was under way', async () => {
    let release = (): void => {};
    const client = await TestClient.greeted(url);
    client.send({ type: 'watch', id: 1, name: 'a', sdp: 'offer' });
    await client.get('watching');
    sessions.beforeReply = () => new Promise((resolve) => (release = resolve));
    client.send({ type: 'publish', id: 2, name: 'b', sdp: 'offer' });
    await until(() => sessions.requests.length === 2);
    client.socket.terminate();
    await until(() => sessions.left.length === 1);
    release();
    await until(() => sessions.left.length === 2);
    expect(sessions.left.map(({ cause }) => cause)).toEqual(['disconnected', 'disconnected']);
    expect(sessions.sinks.size).toBe(0);
  });

  it('says 1001 to all on close, even if one does not answer, and leaves nothing behind', async () => {
    const polite = await TestClient.greeted(url);
    const stubborn = await TestClient.greeted(url);
    stubborn.socket.pause();
    await signaling.close(100);
    expect(await polite.closed).toMatchObject({ code: 1001 });
    expect(signaling.connections).toBe(0);
    expect(sessions.listListeners).toBe(0);
    stubborn.socket.terminate();
  });
});

describe('the handshake', () => {
  const refused = async (options: Parameters<typeof TestClient.open>[1], to = url): Promise<string> => {
    try {
      await TestClient.open(to, options);
      return 'let in';
    } catch (error) {
      return (error as Error).message;
    }
  };

  it('lets in its own page and programs, refuses foreign pages with 403', async () => {
    expect(await refused({})).toBe('let in');
    expect(await refused({ origin: url.replace('ws:', 'http:').replace('/ws', '') })).toBe('let in');
    expect(await refused({ origin: 'https://evil.example' })).toContain('403');
    expect(errors).toEqual(['request.origin']);
  });

  it('answers 404 at other paths', async () => {
    expect(await refused({}, url.replace('/ws', '/other'))).toContain('404');
  });

  it('survives clients that speak no WebSocket at all', async () => {
    const { port: tcp } = http.address() as AddressInfo;
    const handshake =
      'GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';
    for (const garbage of [Buffer.from([0xff, 0xff, 0xff, 0xff]), Buffer.from([0x81, 0x05, 1, 2, 3, 4, 5])]) {
      const socket = connect(tcp, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(handshake);
      await new Promise((resolve) => socket.once('data', resolve));
      socket.resume();
      socket.write(garbage);
      await new Promise((resolve) => socket.once('close', resolve));
    }
    await (await TestClient.greeted(url)).stillUsable();
    expect(errors).toContain('request.malformed');
  });
});

describe('a server that stops', () => {
  it('informs every client at once, those that connect meanwhile included, and the sessions go on', async () => {
    const early = await TestClient.greeted(url);
    early.send({ type: 'watch', id: 1, name: 'stage', sdp: 'offer' });
    await early.get('watching');
    signaling.drain(3);
    expect(await early.get('draining')).toEqual({ type: 'draining', withinSeconds: 3 });
    const late = await TestClient.greeted(url);
    const { withinSeconds } = await late.get('draining');
    expect(withinSeconds).toBeGreaterThan(0);
    expect(withinSeconds).toBeLessThanOrEqual(3);
    expect(sessions.left).toEqual([]);
    await early.stillUsable();
  });
});
