/** @import {BroadcastList, ReplyTo, RequestOf, RequestType, ServerMessage} from '../../server/signaling/protocol.ts' */
import { accessKey } from './access-key.js';
import { backoffMs } from './backoff.js';
import { LiveError, fromServer, toLiveError, withoutKey } from './errors.js';
import { Listeners } from './listeners.js';

const PROTOCOL_VERSION = 1;
/** Of a greeting: asking again changes nothing. */
const FINAL = ['request.version', 'request.unauthorized', 'request.forbidden'];
const REQUEST_TIMEOUT_MS = 15_000;
/** TURN credentials end (`lifetimeSeconds`, an hour or a day in practice): older ones are not used for a new connection. */
const FRESH_MS = 600_000;
/** Browsers hide WebSocket ping frames from pages, so a dead line is noticed by asking. */
const PING_EVERY_MS = 10_000;
const PING_TIMEOUT_MS = 6_000;

/** @typedef {Extract<ServerMessage, {type: 'welcome'}>} Welcome */
/** @typedef {Extract<ServerMessage, {session: string, type: 'candidate' | 'state' | 'stats'}>} SessionPush */
/**
 * @typedef {{kind: 'idle'}
 *   | {kind: 'connecting', attempt: number}
 *   | {kind: 'open', welcome: Welcome}
 *   | {kind: 'waiting', attempt: number, retryAtMs: number, error: LiveError}
 *   | {kind: 'refused', error: LiveError}
 *   | {kind: 'closed'}} SignalingState
 */

/** The WebSocket to the server: requests with answers, pushes to sessions, and coming back by itself. */
export class SignalingClient {
  #url;
  #token = accessKey();
  /** @type {SignalingState} */
  #state = { kind: 'idle' };
  /** @type {WebSocket | undefined} */
  #socket;
  #welcomedMs = 0;
  #nextId = 1;
  #attempt = 0;
  /** @type {Map<number, {resolve: (message: ServerMessage) => void, reject: (error: LiveError) => void, timer: number}>} */
  #pending = new Map();
  /** @type {Map<string, (push: SessionPush) => void>} */
  #sessions = new Map();
  /** @type {number | undefined} */
  #retryTimer;
  /** @type {number | undefined} */
  #pingTimer;
  /** Last error without `re`: the reason of the close that follows it. @type {LiveError | undefined} */
  #lastError;

  /** @type {Listeners<SignalingState>} */
  onState = new Listeners();
  /** @type {Listeners<BroadcastList>} */
  onList = new Listeners();
  /** The server stops within these seconds. @type {Listeners<number>} */
  onDraining = new Listeners();

  /** @param {string} url */
  constructor(url = defaultUrl()) {
    this.#url = url;
  }

  get state() {
    return this.#state;
  }

  connect() {
    if (this.#state.kind !== 'idle') return;
    addEventListener('online', this.#retryNow);
    document.addEventListener('visibilitychange', this.#retryNow);
    this.#open();
  }

  close() {
    removeEventListener('online', this.#retryNow);
    document.removeEventListener('visibilitychange', this.#retryNow);
    this.#drop(new LiveError({ code: 'page.closed', message: 'Closed.', remedy: '', retryable: false }));
    this.#setState({ kind: 'closed' });
  }

  /**
   * @template {RequestType} Type
   * @param {RequestOf<Type>} message without id
   * @returns {Promise<ReplyTo<Type>>} the reply
   * @throws {LiveError}
   */
  async request(message) {
    const socket = this.#socket;
    if (socket === undefined || socket.readyState !== WebSocket.OPEN) throw disconnected();
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(
          new LiveError({
            code: 'page.timeout',
            message: 'The server did not answer in time.',
            remedy: 'It may be busy; trying again automatically.',
            retryable: true,
          }),
        );
      }, REQUEST_TIMEOUT_MS);
      // The server answers each request with its own reply or an error (REPLIES of the protocol).
      this.#pending.set(id, { resolve: /** @type {(message: ServerMessage) => void} */ (resolve), reject, timer });
      socket.send(JSON.stringify({ ...message, id }));
    });
  }

  /**
   * STUN and TURN servers for a connection that begins or looks for a new path now.
   * @returns {Promise<Welcome['iceServers']>}
   * @throws {LiveError}
   */
  async iceServers() {
    const state = this.#state;
    if (state.kind !== 'open') throw disconnected();
    const { iceServers } = state.welcome;
    const fresh = Date.now() - this.#welcomedMs < FRESH_MS;
    if (fresh || iceServers.every(({ credential }) => credential === undefined)) return iceServers;
    const welcome = await this.#hello();
    this.#welcomedMs = Date.now();
    state.welcome = welcome;
    return welcome.iceServers;
  }

  /**
   * Pushes of one session go to `handler`.
   * @param {string} session
   * @param {(push: SessionPush) => void} handler
   * @returns {() => void} detaches
   */
  attach(session, handler) {
    this.#sessions.set(session, handler);
    return () => this.#sessions.delete(session);
  }

  #open() {
    this.#attempt += 1;
    this.#setState({ kind: 'connecting', attempt: this.#attempt });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => void this.#greet(socket);
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#receive(/** @type {string} */ (event.data));
    };
    socket.onclose = () => {
      if (socket === this.#socket) void this.#lost();
    };
  }

  #hello() {
    const token = this.#token === undefined ? {} : { token: this.#token };
    return this.request({ type: 'hello', version: PROTOCOL_VERSION, ...token });
  }

  /** @param {WebSocket} socket */
  async #greet(socket) {
    try {
      const welcome = await this.#hello();
      if (socket !== this.#socket) return;
      this.#attempt = 0;
      this.#lastError = undefined;
      this.#welcomedMs = Date.now();
      this.#setState({ kind: 'open', welcome });
      this.onList.emit(await this.request({ type: 'list', subscribe: true }));
      this.#pingTimer = setInterval(() => void this.#ping(socket), PING_EVERY_MS);
    } catch (thrown) {
      const said = toLiveError(thrown);
      const keyless = said.code === 'request.unauthorized' && this.#token === undefined;
      const error = keyless ? withoutKey(said) : said;
      if (FINAL.includes(error.code) && socket === this.#socket) {
        this.#drop(error);
        this.#setState({ kind: 'refused', error });
      } else socket.close();
    }
  }

  /** @param {WebSocket} socket */
  async #ping(socket) {
    const late = setTimeout(() => {
      if (socket === this.#socket) void this.#lost();
    }, PING_TIMEOUT_MS);
    try {
      await this.request({ type: 'ping' });
    } catch {
      // The close event or the timer above says the same.
    } finally {
      clearTimeout(late);
    }
  }

  /** @param {string} text */
  #receive(text) {
    const message = /** @type {ServerMessage} */ (JSON.parse(text));
    if ('re' in message && message.re !== undefined) {
      const pending = this.#pending.get(message.re);
      if (pending === undefined) {
        // Its request has timed out: a session made after all must not stay behind.
        if (message.type === 'published' || message.type === 'watching') {
          this.request({ type: 'leave', session: message.session }).catch(() => {});
        }
        return;
      }
      this.#pending.delete(message.re);
      clearTimeout(pending.timer);
      if (message.type === 'error') pending.reject(fromServer(message));
      else pending.resolve(message);
    } else if (message.type === 'broadcasts') this.onList.emit(message);
    else if (message.type === 'draining') this.onDraining.emit(message.withinSeconds);
    else if (message.type === 'error') this.#lastError = fromServer(message);
    else if ('session' in message) this.#sessions.get(message.session)?.(/** @type {SessionPush} */ (message));
  }

  /** The line is gone: everything under way fails, and the next try is set. */
  async #lost() {
    const error = this.#lastError ?? disconnected();
    this.#drop(error);
    const waitMs = backoffMs(Math.max(1, this.#attempt));
    this.#attempt = Math.max(1, this.#attempt);
    this.#setState({ kind: 'waiting', attempt: this.#attempt, retryAtMs: Date.now() + waitMs, error });
    this.#retryTimer = setTimeout(() => this.#open(), waitMs);
    if (this.#lastError === undefined && this.#attempt > 1) await this.#explain();
  }

  /** Pages cannot read why a WebSocket does not open; a plain request can. */
  async #explain() {
    const attempt = this.#attempt;
    const error = await probe();
    if (this.#state.kind === 'waiting' && this.#attempt === attempt) this.#setState({ ...this.#state, error });
  }

  #retryNow = () => {
    if (this.#state.kind !== 'waiting' || document.visibilityState === 'hidden') return;
    clearTimeout(this.#retryTimer);
    this.#open();
  };

  /** @param {LiveError} error */
  #drop(error) {
    clearTimeout(this.#retryTimer);
    clearInterval(this.#pingTimer);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
    this.#sessions.clear();
  }

  /** @param {SignalingState} state */
  #setState(state) {
    this.#state = state;
    this.onState.emit(state);
  }
}

function defaultUrl() {
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
}

function disconnected() {
  return new LiveError({
    code: 'page.disconnected',
    message: 'The connection to the server is lost.',
    remedy: 'No action needed; reconnecting automatically.',
    retryable: true,
  });
}

async function probe() {
  try {
    const response = await fetch('/readyz', { cache: 'no-store', signal: AbortSignal.timeout(3000) });
    const { reason } = /** @type {{reason?: string}} */ (await response.json());
    if (!response.ok) {
      return new LiveError({
        code: 'server.draining',
        message: reason === 'draining' ? 'The server is restarting.' : 'The server takes no new connections now.',
        remedy: 'No action needed; reconnecting automatically.',
        retryable: true,
      });
    }
    return new LiveError({
      code: 'page.refused',
      message: 'The server is up, but refuses the WebSocket of this page.',
      remedy: `A proxy in between must pass WebSockets, and http.allowedOrigins must contain ${location.origin}.`,
      retryable: true,
    });
  } catch {
    return disconnected();
  }
}
