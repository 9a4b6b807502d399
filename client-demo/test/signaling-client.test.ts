import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { SignalingClient } from '../assets/signaling-client.js';

interface Sent {
  readonly type: string;
  readonly id: number;
}

/** The server's side of the page's socket: every hello gets credentials of their own. */
class FakeSocket {
  static readonly OPEN = 1;
  static credential: ((hellos: number) => string) | undefined;
  static hellos = 0;
  readonly readyState = FakeSocket.OPEN;
  onopen: (() => void) | undefined;
  onmessage: ((event: { data: string }) => void) | undefined;

  constructor() {
    queueMicrotask(() => this.onopen?.());
  }

  send(text: string): void {
    const { type, id } = JSON.parse(text) as Sent;
    if (type === 'hello') FakeSocket.hellos += 1;
    const server = { urls: 'turn:turn.example.org:3478?transport=tcp' };
    const credential = FakeSocket.credential?.(FakeSocket.hellos);
    const iceServers = [credential === undefined ? server : { ...server, username: 'u', credential }];
    const replies: Readonly<Record<string, object>> = {
      hello: { type: 'welcome', iceServers },
      list: { type: 'broadcasts', broadcasts: [] },
      ping: { type: 'pong' },
    };
    queueMicrotask(() => this.onmessage?.({ data: JSON.stringify({ ...replies[type], re: id }) }));
  }

  close(): void {}
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeSocket);
  for (const name of ['addEventListener', 'removeEventListener']) vi.stubGlobal(name, () => {});
  vi.stubGlobal('document', { addEventListener: () => {}, removeEventListener: () => {}, visibilityState: 'visible' });
  Object.assign(FakeSocket, { hellos: 0, credential: undefined });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function opened(): Promise<SignalingClient> {
  const client = new SignalingClient('ws://server/ws');
  client.connect();
  await vi.advanceTimersByTimeAsync(10);
  expect(client.state.kind).toBe('open');
  return client;
}

it('asks for TURN credentials again when they are old', async () => {
  FakeSocket.credential = (hellos) => `credential ${hellos}`;
  const client = await opened();
  const credential = async () => (await client.iceServers())[0]?.credential;
  await vi.advanceTimersByTimeAsync(300_000);
  expect(await credential()).toBe('credential 1');
  await vi.advanceTimersByTimeAsync(300_000);
  expect(await credential()).toBe('credential 2');
  expect(await credential()).toBe('credential 2');
  client.close();
  await expect(client.iceServers()).rejects.toMatchObject({ code: 'page.disconnected' });
});

it('does not ask again for servers without credentials', async () => {
  const client = await opened();
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(await client.iceServers()).toEqual([{ urls: 'turn:turn.example.org:3478?transport=tcp' }]);
  expect(FakeSocket.hellos).toBe(1);
  client.close();
});
