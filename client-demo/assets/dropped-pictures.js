/** @import {SendChoice} from './choose-send.js' */
/** @import {Uplink} from './rtp-rates.js' */

/** Of the pictures that it was given, an encoder that keeps fewer has no coarser quantizer left: libvpx leaves them out then. */
export const LEAST_SHARE = 0.6;
/** A cut or a gesture is over by then. */
const DROPS_MS = 4000;
/** The size is tried again after this, and twice as long after every try that failed. */
const FIRST_HOLD_MS = 60_000;
const LONGEST_HOLD_MS = 15 * 60_000;
/** A line that carries this much more than when pictures were left out is another one. */
const WIDER = 2;
/** Fewer pictures than this say nothing: a dark room, a page that stands. */
const LEAST_SOURCE_FPS = 10;

/**
 * Sizes that this content is too much for. The table's curves are means over clips; what moves more costs more, and shows in pictures that
 * the encoder leaves out. On a clip of fast hands the table's size alone was up to 8.4 dB worse than the next smaller one. Time is an
 * argument.
 */
export class DroppedPictures {
  /** By codec and size. @type {Map<string, {codec: string, shortSide: number, untilMs: number, holdMs: number, lineBps: number}>} */
  #held = new Map();
  #watched = '';
  #sinceMs = Infinity;

  /**
   * Once a second.
   * @param {number} nowMs @param {SendChoice} choice that is sent @param {Uplink} uplink @param {number} lineBps
   */
  observe(nowMs, { codec, shortSide, framesPerSecond }, { fps, sourceFps, limitation }, lineBps) {
    const key = `${codec} ${shortSide}`;
    const aim = Math.min(sourceFps ?? 0, framesPerSecond);
    // A machine that is too slow is another matter, which AutoSend answers with another codec.
    const drops = aim >= LEAST_SOURCE_FPS && fps < aim * LEAST_SHARE && limitation !== 'cpu';
    if (!drops) this.#sinceMs = Infinity;
    else if (key !== this.#watched || this.#sinceMs === Infinity) this.#sinceMs = nowMs;
    this.#watched = key;
    if (nowMs - this.#sinceMs < DROPS_MS) return;
    this.#sinceMs = Infinity;
    const before = this.#held.get(key);
    const holdMs = before === undefined ? FIRST_HOLD_MS : Math.min(before.holdMs * 2, LONGEST_HOLD_MS);
    this.#held.set(key, { codec, shortSide, untilMs: nowMs + holdMs, holdMs, lineBps });
  }

  /** What is sent must be smaller than this. @param {number} nowMs @param {string} codec @param {number} lineBps */
  limit(nowMs, codec, lineBps) {
    const held = [...this.#held.values()].filter(
      (one) => one.codec === codec && nowMs < one.untilMs && lineBps < one.lineBps * WIDER,
    );
    return Math.min(Infinity, ...held.map(({ shortSide }) => shortSide));
  }
}
