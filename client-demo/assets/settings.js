/** @import {CaptureKind} from './errors.js' */

/**
 * @typedef {object} PublishSettings
 * @property {CaptureKind} kind
 * @property {boolean} auto size, codec and frame rate follow the line
 * @property {number} height lines that are sent; with `auto` the most
 * @property {number} maxBitrateBps
 * @property {boolean} [sendBack] whether the page gets its own result; absent: by the line
 * @property {boolean} audio
 * @property {string} name
 */

/** What a camera is asked for when the size follows the line: the goal of results, sent as it is on wide lines. */
export const AUTO_HEIGHT = 720;
/** Uploads of so little are "low data": sound is made smaller, too. */
export const LOW_DATA_BPS = 150_000;

const KEY = 'flashvsr-live.publish';
const TOKEN_KEY = 'flashvsr-live.token.';
const STREAM_KEY = 'flashvsr-live.key.';
const LINE_KEY = 'flashvsr-live.line';

const FIRST = [
  'amber',
  'brisk',
  'calm',
  'clear',
  'dawn',
  'ember',
  'frost',
  'grand',
  'harbor',
  'lunar',
  'north',
  'vivid',
];
const SECOND = [
  'comet',
  'falcon',
  'field',
  'harvest',
  'island',
  'lantern',
  'meadow',
  'orbit',
  'pine',
  'river',
  'sail',
  'summit',
];

/** A name that is easy to say on the phone. */
export function suggestName(random = Math.random) {
  /** @param {string[]} words */
  const pick = (words) => words[Math.floor(random() * words.length)] ?? '';
  return `${pick(FIRST)}-${pick(SECOND)}-${10 + Math.floor(random() * 90)}`;
}

/**
 * The height is exact whatever the camera, screen or file delivers: the sender scales by this factor
 * (RTCRtpEncodingParameters.scaleResolutionDownBy, at least 1: nothing is ever scaled up before sending).
 * @param {number} trackHeight
 * @param {number} wantedHeight
 */
export function scaleDownFactor(trackHeight, wantedHeight) {
  return trackHeight > wantedHeight ? trackHeight / wantedHeight : 1;
}

/**
 * What the page remembers. A tab's own settings survive its reload; a new tab begins with those of the last one, the name of
 * the channel included. The resume token proves to the server that a name is this browser's.
 */
export class PageStore {
  #tab;
  #browser;
  #tokens;

  /**
   * @param {object} [storages] each may be forbidden
   * @param {Storage | undefined} [storages.tab]
   * @param {Storage | undefined} [storages.browser]
   * @param {boolean} [storages.sharedTokens] false where tabs cannot learn of each other: a token is then its tab's alone
   */
  constructor({ tab = storage('sessionStorage'), browser = storage('localStorage'), sharedTokens = true } = {}) {
    this.#tab = tab;
    this.#browser = browser;
    this.#tokens = sharedTokens ? browser : tab;
  }

  /** @returns {PublishSettings} */
  load() {
    /** @type {PublishSettings} */
    const defaults = {
      kind: 'camera',
      auto: true,
      height: 180,
      maxBitrateBps: 1_500_000,
      audio: true,
      name: suggestName(),
    };
    return { ...defaults, ...read(this.#browser), ...read(this.#tab) };
  }

  /** @param {PublishSettings} settings @param {{keepName?: boolean}} [options] false: the name is for this tab only */
  save(settings, { keepName = true } = {}) {
    write(this.#tab, KEY, JSON.stringify(settings));
    const { name } = keepName ? settings : { name: read(this.#browser).name };
    write(this.#browser, KEY, JSON.stringify({ ...settings, name }));
  }

  /** What the line upwards carried when it was measured last, bit/s. @returns {number | undefined} */
  get lineBps() {
    return Number(this.#browser?.getItem(LINE_KEY)) || undefined;
  }

  /** @param {number} bps */
  keepLine(bps) {
    write(this.#browser, LINE_KEY, String(Math.round(bps)));
  }

  /**
   * The proof that this browser published under the name before.
   * @param {string} name
   * @returns {string | undefined}
   */
  resumeToken(name) {
    return this.#tokens?.getItem(TOKEN_KEY + name) ?? undefined;
  }

  /** @param {string} name @param {string} token */
  keepResumeToken(name, token) {
    write(this.#tokens, TOKEN_KEY + name, token);
  }

  /** @param {string} name */
  forgetResumeToken(name) {
    this.#tokens?.removeItem(TOKEN_KEY + name);
  }

  /**
   * The token that programs of this person publish with under the name. It stays when a broadcast ends: it is written into their
   * settings.
   * @param {string} name
   * @returns {string | undefined}
   */
  streamKey(name) {
    return this.#browser?.getItem(STREAM_KEY + name) ?? undefined;
  }

  /** @param {string} name @returns {string} the one that there is, or a new one */
  makeStreamKey(name) {
    const key = this.streamKey(name) ?? this.resumeToken(name) ?? randomToken();
    write(this.#browser, STREAM_KEY + name, key);
    return key;
  }
}

/** 32 characters of base64url, the form of the server's own tokens. */
function randomToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_');
}

/** @param {Storage | undefined} from @returns {Partial<PublishSettings>} */
function read(from) {
  try {
    return /** @type {Partial<PublishSettings>} */ (JSON.parse(from?.getItem(KEY) ?? '{}'));
  } catch {
    return {};
  }
}

/** @param {Storage | undefined} into @param {string} key @param {string} value */
function write(into, key, value) {
  try {
    into?.setItem(key, value);
  } catch {
    // Full or forbidden: the page works without, only a reload starts from the defaults.
  }
}

/** @param {'sessionStorage' | 'localStorage'} kind */
function storage(kind) {
  try {
    return globalThis[kind];
  } catch {
    return undefined;
  }
}
