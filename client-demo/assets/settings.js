/** @import {CaptureKind} from './errors.js' */

/**
 * @typedef {object} PublishSettings
 * @property {CaptureKind} kind
 * @property {number} height lines that are sent
 * @property {number} maxBitrateBps
 * @property {boolean} audio
 * @property {string} name
 */

export const BITRATE_CAPS_BPS = [150_000, 300_000, 500_000, 800_000, 1_200_000, 1_500_000];

const KEY = 'flashvsr-live.publish';
const TOKEN_KEY = 'flashvsr-live.token.';

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

/** Session storage is of this tab, survives reloads, and may be forbidden altogether. */
export class TabStore {
  /** @param {Storage | undefined} storage */
  constructor(storage = tabStorage()) {
    this.#storage = storage;
  }

  #storage;

  /** @returns {PublishSettings} */
  load() {
    /** @type {PublishSettings} */
    const defaults = { kind: 'camera', height: 180, maxBitrateBps: 300_000, audio: true, name: suggestName() };
    try {
      const saved = /** @type {Partial<PublishSettings>} */ (JSON.parse(this.#storage?.getItem(KEY) ?? '{}'));
      return { ...defaults, ...saved };
    } catch {
      return defaults;
    }
  }

  /** @param {PublishSettings} settings */
  save(settings) {
    this.#set(KEY, JSON.stringify(settings));
  }

  /**
   * The proof that this tab published under the name before.
   * @param {string} name
   * @returns {string | undefined}
   */
  resumeToken(name) {
    return this.#storage?.getItem(TOKEN_KEY + name) ?? undefined;
  }

  /** @param {string} name @param {string} token */
  keepResumeToken(name, token) {
    this.#set(TOKEN_KEY + name, token);
  }

  /** @param {string} name */
  forgetResumeToken(name) {
    this.#storage?.removeItem(TOKEN_KEY + name);
  }

  /** @param {string} key @param {string} value */
  #set(key, value) {
    try {
      this.#storage?.setItem(key, value);
    } catch {
      // Full or forbidden: the page works without, only a reload starts from the defaults.
    }
  }
}

function tabStorage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}
