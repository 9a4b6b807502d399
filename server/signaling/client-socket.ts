import type { RawData, WebSocket } from 'ws';
import { z } from 'zod';
import { EVERYTHING, NOTHING, type Access, type Grant, type Sight } from '../access/access.ts';
import { AppError } from '../errors.ts';
import { parseBoundedJson } from '../access/bounded-json.ts';
import { RateLimit } from '../access/limits.ts';
import { SessionChannel } from './channel.ts';
import type { LeaveCause, SessionService } from '../broadcast/sessions.ts';
import type { BroadcastList } from '../broadcast/statistics.ts';
import { CLOSE_CODES, PROTOCOL_VERSION, clientMessage, type ClientMessage, type ServerMessage } from './protocol.ts';
import { findRequestId } from './request-id.ts';
import { wireError } from '../wire-error.ts';

/** A page may show a wall of broadcasts; one socket must not hold every viewer's place. */
const MAX_WATCHES_PER_SOCKET = 16;
/** Names that a client was let into and that its lists have. */
const MAX_ADMITTED = 64;
/** A client that does not read: above the first bound it misses pushes that come again, above the second it is cut. */
const SKIP_PUSHES_ABOVE_BYTES = 64 * 1024;
const CUT_ABOVE_BYTES = 4 * 1024 * 1024;

export interface ClientSocketOptions {
  readonly socket: WebSocket;
  readonly sessions: SessionService;
  readonly access: Access;
  readonly remoteAddress: string;
  readonly serverName: string;
  readonly maxMessageBytes: number;
  readonly maxMessagesPerSecond: number;
  readonly helloTimeoutMs: number;
  readonly onError: (error: AppError, connection: ClientSocket) => void;
}

type Request<T extends ClientMessage['type']> = Extract<ClientMessage, { type: T }>;
type Reply = Exclude<ServerMessage, { type: 'error' | 'draining' | 'candidate' | 'state' | 'stats' }>;
type State = { kind: 'greeting'; timer: NodeJS.Timeout } | { kind: 'open' } | { kind: 'closed' };

/** One socket: reads requests, answers each exactly once, and owns the sessions it made. */
export class ClientSocket {
  readonly #options: ClientSocketOptions;
  readonly #sessions = new Map<string, SessionChannel>();
  /** Sessions that the server ended, newest first: a `leave` may have crossed the end. */
  #ended: readonly string[] = [];
  /** Requests under way that will become sessions, so that limits count them too. */
  readonly #pending = { publish: 0, watch: 0 };
  readonly #rate: RateLimit;
  /** Rejected messages have their own budget; a client that exceeds it too is cut. */
  readonly #rejects: RateLimit;
  /** Ping and pong frames, which cost the server's thread as messages do. */
  readonly #controls: RateLimit;
  #state: State;
  /** A hello that is being checked: later messages wait for it. */
  #greeting: Promise<void> | undefined;
  #credential: string | undefined;
  #sight: Sight = NOTHING;
  readonly #admitted = new Set<string>();
  #subscribed = false;
  #missedPongs = 0;

  constructor(options: ClientSocketOptions) {
    this.#options = options;
    const { socket, maxMessagesPerSecond } = options;
    this.#rate = new RateLimit(maxMessagesPerSecond, maxMessagesPerSecond * 10, performance.now());
    this.#rejects = new RateLimit(maxMessagesPerSecond, maxMessagesPerSecond * 10, performance.now());
    this.#controls = new RateLimit(maxMessagesPerSecond, maxMessagesPerSecond * 10, performance.now());
    const timer = setTimeout(
      () =>
        this.#guard(() => {
          this.#report(new AppError('request.state', 'No hello within the time allowed.'));
          this.close(CLOSE_CODES.noHello.code, 'no hello');
        }),
      options.helloTimeoutMs,
    );
    this.#state = { kind: 'greeting', timer };
    socket.on('message', (data, isBinary) => this.#guard(() => this.#receive(data, isBinary)));
    socket.on('ping', () => this.#guard(() => this.#onControl()));
    socket.on('pong', () => {
      this.#missedPongs = 0;
      this.#guard(() => this.#onControl());
    });
    socket.on('close', () => this.#guard(() => this.#closed()));
    // Frames against RFC 6455, or larger than the hard limit: ws closes with the right code, the count is ours.
    socket.on('error', (cause) =>
      options.onError(new AppError('request.malformed', `WebSocket: ${cause.message}`, { cause }), this),
    );
  }

  get remoteAddress(): string {
    return this.#options.remoteAddress;
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** True when this client asked for `broadcasts` on every change. */
  get subscribed(): boolean {
    return this.#subscribed;
  }

  toJSON(): object {
    return {
      state: this.#state.kind,
      sessions: [...this.#sessions].map(([session, { role }]) => ({ session, role })),
      pending: this.#pending,
      subscribed: this.#subscribed,
      missedPongs: this.#missedPongs,
      bufferedBytes: this.#options.socket.bufferedAmount,
    };
  }

  /** A ping frame (RFC 6455 section 5.5.2). A client that missed two is cut. */
  heartbeat(): void {
    if (this.#missedPongs >= 2) {
      this.#options.socket.terminate();
      return;
    }
    this.#missedPongs += 1;
    this.#options.socket.ping();
  }

  /** Skipped for a client that does not keep up. */
  pushList(list: BroadcastList): void {
    this.pushText(JSON.stringify({ type: 'broadcasts', ...this.#visible(list) } satisfies ServerMessage));
  }

  /** Already serialized, for what is the same for every client. Skipped for a client that does not keep up. */
  pushText(text: string): void {
    if (this.#options.socket.bufferedAmount <= SKIP_PUSHES_ABOVE_BYTES) this.#sendText(text);
  }

  close(code: number, reason: string): void {
    this.#options.socket.close(code, reason);
  }

  terminate(): void {
    this.#options.socket.terminate();
  }

  /**
   * Runs one socket event. An exception that left an event handler would end the process and with it all sessions:
   * a defect met while reading one client's frame ends that client's socket only.
   */
  #guard(handle: () => void): void {
    try {
      handle();
    } catch (thrown) {
      this.#report(AppError.from(thrown));
      this.#options.socket.close(CLOSE_CODES.internal.code, 'internal error');
    }
  }

  /** Cut without a close frame: waiting for the answer would mean reading the flood for three seconds more. */
  #onControl(): void {
    if (this.#state.kind === 'closed' || this.#controls.take(performance.now())) return;
    const most = this.#options.maxMessagesPerSecond;
    this.#report(new AppError('request.tooMany', `More than ${most} ping and pong frames a second.`));
    this.terminate();
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#state.kind === 'closed') return;
    const nowMs = performance.now();
    if (!this.#rate.take(nowMs)) {
      if (!this.#rejects.take(nowMs)) {
        this.close(CLOSE_CODES.tooManyMessages.code, 'too many messages');
        return;
      }
      const most = this.#options.maxMessagesPerSecond;
      const what = `More than ${most} messages a second; this one was not handled.`;
      this.#fail(new AppError('request.tooMany', what), isBinary ? undefined : findRequestId(bytesOf(data)));
      return;
    }
    if (isBinary) {
      this.#fail(new AppError('request.malformed', 'Binary frame: messages are JSON text.'));
      return;
    }
    const bytes = bytesOf(data);
    if (bytes.length > this.#options.maxMessageBytes) {
      const most = this.#options.maxMessageBytes;
      const what = `Message of ${bytes.length} bytes; the most is ${most}.`;
      this.#fail(new AppError('request.tooLarge', what), findRequestId(bytes));
      return;
    }
    let json: unknown;
    try {
      json = parseBoundedJson(bytes.toString('utf8'));
    } catch (thrown) {
      this.#fail(AppError.from(thrown), findRequestId(bytes));
      return;
    }
    const parsed = clientMessage.safeParse(json);
    if (!parsed.success) {
      this.#fail(new AppError('request.malformed', describe(parsed.error, json)), requestId(json));
      return;
    }
    void this.#answer(parsed.data);
  }

  async #answer(message: ClientMessage): Promise<void> {
    if (this.#greeting !== undefined) await this.#greeting;
    const greeted = message.type === 'hello' ? this.#greetingBegins() : undefined;
    try {
      if (this.#state.kind === 'greeting' && message.type !== 'hello') {
        throw new AppError('request.state', `"${message.type}" before "hello".`);
      }
      switch (message.type) {
        case 'hello':
          return await this.#hello(message);
        case 'publish':
          return await this.#publish(message);
        case 'watch':
          return await this.#watch(message);
        case 'show':
          this.#own(message.session);
          this.#options.sessions.show(message.session, { result: message.result, source: message.source });
          return this.#reply({ type: 'ok', re: message.id });
        case 'restart': {
          this.#own(message.session);
          const sdp = await this.#options.sessions.restart(message.session, message.sdp);
          return this.#reply({ type: 'restarted', re: message.id, session: message.session, sdp });
        }
        case 'candidate':
          this.#own(message.session);
          await this.#options.sessions.addCandidate(message.session, message.candidate);
          return this.#reply({ type: 'ok', re: message.id });
        case 'leave':
          // The server may have ended it in the same moment.
          if (!this.#ended.includes(message.session)) {
            this.#own(message.session);
            await this.#end(message.session, 'request');
          }
          return this.#reply({ type: 'ok', re: message.id });
        case 'list':
          if (message.subscribe !== undefined) this.#subscribed = message.subscribe;
          return this.#reply({ type: 'broadcasts', re: message.id, ...this.#visible(this.#options.sessions.list()) });
        case 'share':
          return await this.#share(message);
        case 'ping':
          return this.#reply({ type: 'pong', re: message.id });
        default:
          message satisfies never; // a message without its case does not compile
      }
    } catch (thrown) {
      this.#fail(AppError.from(thrown), message.id);
    } finally {
      greeted?.();
    }
  }

  /** @returns its end: messages that came meanwhile ask the state what came of it */
  #greetingBegins(): () => void {
    let end = (): void => {};
    const greeting = new Promise<void>((resolve) => (end = resolve));
    this.#greeting = greeting;
    return () => {
      if (this.#greeting === greeting) this.#greeting = undefined;
      end();
    };
  }

  async #hello(message: Request<'hello'>): Promise<void> {
    if (message.version !== PROTOCOL_VERSION) {
      const versions = `client ${message.version}, server ${PROTOCOL_VERSION}`;
      this.#fail(new AppError('request.version', `Different protocol versions: ${versions}.`), message.id);
      this.close(CLOSE_CODES.versionMismatch.code, 'protocol version');
      return;
    }
    const { sessions, access, serverName } = this.#options;
    if (access.mode === 'open') this.#open(undefined, EVERYTHING);
    else this.#open(message.token, await access.identify(message.token, this.#options.remoteAddress));
    const { model, iceServers } = sessions.welcome();
    // A hook answers about one name: until it has, the client may be anybody. A token of an identity provider may be anybody's, too.
    const known = this.#sight.joins || this.#admitted.size > 0;
    this.#reply({
      type: 'welcome',
      re: message.id,
      version: PROTOCOL_VERSION,
      server: serverName,
      access: access.mode,
      model,
      iceServers: known ? iceServers : iceServers.filter(({ credential }) => credential === undefined),
    });
  }

  #open(credential: string | undefined, sight: Sight): void {
    this.#credential = credential;
    this.#sight = sight;
    if (this.#state.kind !== 'greeting') return;
    clearTimeout(this.#state.timer);
    this.#state = { kind: 'open' };
  }

  /** @throws AppError as Access.authorize() */
  async #authorize(action: 'publish' | 'watch', name: string): Promise<Grant> {
    const { access, remoteAddress } = this.#options;
    const grant = await access.authorize({ action, name, credential: this.#credential, address: remoteAddress });
    this.#admitted.add(name);
    if (this.#admitted.size > MAX_ADMITTED) {
      const [oldest] = this.#admitted;
      if (oldest !== undefined) this.#admitted.delete(oldest);
    }
    return grant;
  }

  /** A name that the client may not watch is not there for it. */
  #visible({ broadcasts, capacity }: BroadcastList): BroadcastList {
    const seen = broadcasts.filter(({ name }) => this.#sight.sees(name) || this.#admitted.has(name));
    return { broadcasts: seen, capacity };
  }

  async #share({ id, name }: Request<'share'>): Promise<void> {
    const { access } = this.#options;
    if (access.mode === 'open') {
      throw new AppError('request.state', 'This server is open: a link needs no token.', {
        remedy: 'Share the address of the page.',
      });
    }
    await this.#authorize('publish', name);
    const { token, expiresAtMs } = await access.makeLink(name);
    this.#reply({ type: 'shared', re: id, name, token, expiresAt: new Date(expiresAtMs).toISOString() });
  }

  async #publish({ id, name, sdp, resumeToken }: Request<'publish'>): Promise<void> {
    const publishing = [...this.#sessions.values()].some((channel) => channel.role === 'publish');
    if (publishing || this.#pending.publish > 0) {
      throw new AppError('request.state', 'This connection publishes already.', {
        remedy: 'Leave the first session, or open another connection.',
      });
    }
    const { sessions, remoteAddress } = this.#options;
    const channel = new SessionChannel('publish', name, this.#channelHost);
    const reply = await this.#whilePending(
      'publish',
      channel,
      this.#authorize('publish', name).then(({ holder, endsAtMs }) =>
        sessions.publish({ name, sdp, resumeToken, tokenKind: 'issued', remoteAddress, holder, endsAtMs }, channel),
      ),
    );
    if (reply === undefined) return;
    this.#reply({ type: 'published', re: id, name, ...reply });
    channel.open(reply.session);
  }

  async #watch({ id, name, sdp, show }: Request<'watch'>): Promise<void> {
    const watching = [...this.#sessions.values()].filter((channel) => channel.role === 'watch').length;
    if (watching + this.#pending.watch >= MAX_WATCHES_PER_SOCKET) {
      throw new AppError('request.tooMany', `One connection may watch ${MAX_WATCHES_PER_SOCKET} broadcasts.`);
    }
    const { sessions, remoteAddress } = this.#options;
    const channel = new SessionChannel('watch', name, this.#channelHost);
    const own = [...this.#sessions.values()].some((other) => other.role === 'publish' && other.name === name);
    const shown = show === undefined ? {} : { show };
    const request = { name, sdp, tracks: 'page', waits: true, remoteAddress, own, ...shown } as const;
    // Whoever publishes may see what comes of it.
    const permitted = this.#authorize(own ? 'publish' : 'watch', name);
    const reply = await this.#whilePending(
      'watch',
      channel,
      permitted.then(({ holder, endsAtMs }) => sessions.watch({ ...request, holder, endsAtMs }, channel)),
    );
    if (reply === undefined) return;
    this.#reply({ type: 'watching', re: id, name, ...reply });
    channel.open(reply.session);
  }

  /** Counts the request, registers the session it made, or ends it at once if the client went away meanwhile. */
  async #whilePending<T extends { session: string }>(
    role: 'publish' | 'watch',
    channel: SessionChannel,
    request: Promise<T>,
  ): Promise<T | undefined> {
    this.#pending[role] += 1;
    try {
      const reply = await request;
      if (this.#state.kind === 'closed') {
        channel.close();
        await this.#options.sessions.leave(reply.session, 'disconnected');
        return undefined;
      }
      this.#sessions.set(reply.session, channel);
      return reply;
    } finally {
      this.#pending[role] -= 1;
    }
  }

  readonly #channelHost = {
    send: (message: ServerMessage) => this.#send(message),
    sendIfIdle: (message: ServerMessage) => {
      if (this.#options.socket.bufferedAmount <= SKIP_PUSHES_ABOVE_BYTES) this.#send(message);
    },
    ended: (session: string) => {
      this.#sessions.delete(session);
      this.#ended = [session, ...this.#ended].slice(0, MAX_WATCHES_PER_SOCKET);
    },
  };

  #own(session: string): void {
    if (!this.#sessions.has(session)) {
      throw new AppError('request.unknownSession', `This connection has no session "${session}".`);
    }
  }

  async #end(session: string, cause: LeaveCause): Promise<void> {
    this.#sessions.get(session)?.close();
    this.#sessions.delete(session);
    await this.#options.sessions.leave(session, cause);
  }

  #closed(): void {
    if (this.#state.kind === 'greeting') clearTimeout(this.#state.timer);
    this.#state = { kind: 'closed' };
    this.#subscribed = false;
    for (const session of [...this.#sessions.keys()]) {
      this.#end(session, 'disconnected').catch((thrown: unknown) => this.#report(AppError.from(thrown)));
    }
  }

  #fail(error: AppError, re?: number): void {
    this.#report(error);
    this.#send({ type: 'error', ...(re === undefined ? {} : { re }), ...wireError(error) });
  }

  #report(error: AppError): void {
    this.#options.onError(error, this);
  }

  #reply(message: Reply): void {
    this.#send(message);
  }

  #send(message: ServerMessage): void {
    this.#sendText(JSON.stringify(message));
  }

  #sendText(message: string): void {
    const { socket } = this.#options;
    if (socket.readyState !== socket.OPEN) return;
    if (socket.bufferedAmount > CUT_ABOVE_BYTES) socket.terminate();
    else socket.send(message);
  }
}

/** ws gives text frames as one Buffer (binaryType nodebuffer). */
function bytesOf(data: RawData): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data);
  return Buffer.isBuffer(data) ? data : Buffer.from(data);
}

function requestId(json: unknown): number | undefined {
  const id = z.object({ id: z.number().int().nonnegative() }).safeParse(json);
  return id.success ? id.data.id : undefined;
}

const TYPES = clientMessage.options.map((option) => option.shape.type.value);

/** The shape of a value whose content is not shown, because its size and depth are the client's choice. */
function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** One sentence that names the field, what was wrong and what is allowed. */
function describe(error: z.ZodError, json: unknown): string {
  if (typeof json !== 'object' || json === null) return 'The message must be a JSON object.';
  const type = (json as { type?: unknown }).type;
  if (!TYPES.some((known) => known === type)) {
    const given = typeof type === 'string' ? JSON.stringify(type.slice(0, 64)) : kindOf(type);
    return `type: ${given} is not one of ${TYPES.join(', ')}.`;
  }
  const issues = error.issues.slice(0, 3).map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  return `Wrong "${String(type)}" message: ${issues.join('; ')}.`;
}
