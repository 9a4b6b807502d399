/** @import {BroadcastStats} from '../../server/signaling/protocol.ts' */

/**
 * What the page reads of /api/admin; /api/openapi.json has all of it.
 * @typedef {object} ServerStatus
 * @property {string} version
 * @property {number} uptimeSeconds
 * @property {number} residentBytes
 * @property {number} cores
 * @property {number} processorLoad cores' time
 * @property {boolean} draining
 * @property {{label: string, scale: number, device: string}} model
 * @property {{device: string, name: string, streams: number, lost: boolean}[]} engines
 * @property {number} broadcasts with a pipeline
 * @property {number} capacity
 * @property {number} viewers
 * @property {number} bitrateInBps
 * @property {number} bitrateOutBps
 * @property {{code: string, count: number, lastAt: string, remedy: string}[]} errors
 */

/**
 * @typedef {object} Broadcast
 * @property {string} name
 * @property {'waiting' | 'live' | 'paused'} state
 * @property {number} viewers
 * @property {string} startedAt
 * @property {{maxBitrateBps: number, ladder: boolean}} settings
 * @property {BroadcastStats | null} stats
 * @property {ViewerRow[]} sessions
 */

/**
 * @typedef {object} ViewerRow
 * @property {string} state
 * @property {boolean} own
 * @property {string | null} codec
 * @property {number} bitrateBps
 * @property {number} fractionLost
 * @property {number | null} roundTripMs
 * @property {'full' | 'low'} rendition
 */

/**
 * @typedef {object} Output
 * @property {string} name
 * @property {string} type
 * @property {string} broadcast
 * @property {'stopped' | 'waiting' | 'connecting' | 'running' | 'failed'} state
 * @property {{broadcast: string, target: string, frames: number, bytes: number, bitrateBps: number,
 *   error?: {code: string, message: string, remedy: string}}[]} runs
 */

/**
 * @typedef {object} Source
 * @property {string} name
 * @property {string} target
 * @property {string} state
 * @property {{code: string, message: string}} [lastError]
 */

/** @typedef {{status: ServerStatus, broadcasts: Broadcast[], outputs: Output[], sources: Source[]}} Overview */

/** The tab's own: closed with it, and in no address. */
const STORED = 'flashvsr-live.admin';

/** What the server answered instead of what was asked for (RFC 9457). */
export class ApiProblem extends Error {
  /** @param {number} status 0: it did not answer @param {string} detail @param {string} remedy */
  constructor(status, detail, remedy) {
    super(detail);
    this.status = status;
    this.remedy = remedy;
  }
}

/** The server's API with the token of this tab. */
export class AdminApi {
  #storage;
  /** @type {string | undefined} */
  #token;

  /** @param {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> | undefined} [storage] may be forbidden */
  constructor(storage = tabStorage()) {
    this.#storage = storage;
    this.#token = storage?.getItem(STORED) ?? undefined;
  }

  get hasToken() {
    return this.#token !== undefined;
  }

  /** @param {string | undefined} token undefined: forget it */
  use(token) {
    this.#token = token;
    try {
      if (token === undefined) this.#storage?.removeItem(STORED);
      else this.#storage?.setItem(STORED, token);
    } catch {
      // Forbidden: the page keeps it until it is loaded again.
    }
  }

  /** @returns {Promise<Overview>} @throws {ApiProblem} */
  async overview() {
    const [status, { broadcasts }, { outputs }, { sources }] = await Promise.all([
      this.#ask('GET', 'status'),
      this.#ask('GET', 'broadcasts'),
      this.#ask('GET', 'outputs'),
      this.#ask('GET', 'sources'),
    ]);
    return { status, broadcasts, outputs, sources };
  }

  /** @param {string} name */
  async kick(name) {
    await this.#ask('POST', 'kick', { name });
  }

  async drain() {
    await this.#ask('POST', 'drain', {});
  }

  /** @param {string} name of the output @param {string} broadcast */
  async record(name, broadcast) {
    await this.#ask('POST', 'outputs', { name, broadcast, type: 'recording' });
  }

  /** @param {string} name */
  async stopOutput(name) {
    await this.#ask('POST', `outputs/${name}/stop`);
  }

  /** @param {string} name */
  async stopSource(name) {
    await this.#ask('DELETE', `sources/${encodeURIComponent(name)}`);
  }

  /**
   * @param {string} method @param {string} path @param {object} [body]
   * @returns {Promise<any>}
   */
  async #ask(method, path, body) {
    /** @type {Record<string, string>} */
    const headers = { Accept: 'application/json' };
    if (this.#token !== undefined) headers['Authorization'] = `Bearer ${this.#token}`;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    let response;
    try {
      const request = { method, headers, ...(body && { body: JSON.stringify(body) }) };
      response = await fetch(`/api/admin/${path}`, {
        ...request,
        cache: 'no-store',
        signal: AbortSignal.timeout(10_000),
      });
    } catch {
      throw new ApiProblem(0, 'The server does not answer.', 'The page goes on asking.');
    }
    if (response.ok) return response.status === 204 ? undefined : await response.json();
    const problem = await response.json().catch(() => ({}));
    throw new ApiProblem(
      response.status,
      problem.detail ?? `The server answered ${response.status}.`,
      problem.remedy ?? '',
    );
  }
}

/**
 * The output that the page's button makes for a broadcast. Names of outputs are short and have no dot or slash: one that does not fit
 * gets a number of its own.
 * @param {string} broadcast
 */
export function recordingName(broadcast) {
  const plain = broadcast.replaceAll(/[^A-Za-z0-9-]/g, '-');
  if (plain === broadcast && plain.length <= 28) return `rec-${plain}`;
  let hash = 0;
  for (const character of broadcast) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 2 ** 32;
  return `rec-${plain.slice(0, 20)}-${hash.toString(36)}`;
}

function tabStorage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}
