import { WebSocket } from 'ws';
import { PROTOCOL_VERSION, type ServerMessage } from '../../server/signaling/protocol.ts';
import type { BroadcastStats, SessionState, ViewerSessionStats } from '../../server/broadcast/statistics.ts';

type Reply<T extends ServerMessage['type']> = Extract<ServerMessage, { type: T }>;

/** What a request got instead of its reply. */
export class SignalingError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

/** A client of /ws for Node: requests as promises, pushes kept. The page has its own (client-demo). */
export class SignalingClient {
  readonly states: { readonly session: string; readonly state: SessionState; readonly code: string | undefined }[] = [];
  /** The newest statistics of each session. */
  readonly stats = new Map<string, BroadcastStats>();
  /** Of sessions that watch, all of them in order. */
  readonly viewerStats: ViewerSessionStats[] = [];
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, { resolve: (message: ServerMessage) => void; reject: (error: Error) => void }>();
  #nextId = 1;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => this.#onMessage(JSON.parse(data.toString()) as ServerMessage));
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the socket was closed'));
      this.#waiting.clear();
    });
  }

  /** @param url of the server, http(s)://... */
  static async connect(url: string): Promise<SignalingClient> {
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/ws`, { origin: url });
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    const client = new SignalingClient(socket);
    await client.request({ type: 'hello', version: PROTOCOL_VERSION }, 'welcome');
    return client;
  }

  /** @throws SignalingError with the server's code */
  async request<T extends ServerMessage['type']>(
    message: { type: string } & Record<string, unknown>,
    expected: T,
  ): Promise<Reply<T>> {
    const id = this.#nextId;
    this.#nextId += 1;
    if (this.#socket.readyState !== WebSocket.OPEN) throw new Error('the socket is closed');
    const reply = await new Promise<ServerMessage>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ ...message, id }));
    });
    if (reply.type === 'error') throw new SignalingError(reply.code, reply.message);
    if (reply.type !== expected) throw new Error(`expected ${expected}, got ${reply.type}`);
    return reply as Reply<T>;
  }

  async publish(name: string, sdp: string, resumeToken?: string): Promise<Reply<'published'>> {
    return this.request(
      { type: 'publish', name, sdp, ...(resumeToken === undefined ? {} : { resumeToken }) },
      'published',
    );
  }

  async watch(name: string, sdp: string): Promise<Reply<'watching'>> {
    return this.request({ type: 'watch', name, sdp }, 'watching');
  }

  async leave(session: string): Promise<void> {
    await this.request({ type: 'leave', session }, 'ok');
  }

  /** @throws when the state is not pushed in time */
  async waitForState(session: string, state: SessionState, withinMs = 30_000): Promise<void> {
    const end = Date.now() + withinMs;
    while (!this.states.some((push) => push.session === session && push.state === state)) {
      if (Date.now() > end) throw new Error(`session did not become ${state} within ${withinMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  close(): void {
    this.#socket.close();
  }

  /** Cut without a closing handshake, as a network does. */
  terminate(): void {
    this.#socket.terminate();
  }

  #onMessage(message: ServerMessage): void {
    if (message.type === 'state') {
      this.states.push({ session: message.session, state: message.state, code: message.error?.code });
    } else if (message.type === 'stats') {
      this.stats.set(message.session, message.broadcast);
      if (message.viewer !== undefined) this.viewerStats.push(message.viewer);
    }
    if (!('re' in message) || message.re === undefined) return;
    this.#waiting.get(message.re)?.resolve(message);
    this.#waiting.delete(message.re);
  }
}
