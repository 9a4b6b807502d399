/** @import {SendChoice, SendRequest} from './choose-send.js' */
import { chooseSend } from './choose-send.js';

/** A line that became thinner for this long is thin: the picture goes down soon, since what does not fit is lost or late. */
const FALL_MS = 2000;
/** A line that became wider must stay so: going up too early is paid for by going down again. */
const RISE_MS = 8000;

/** What is sent over a line that changes. Time is an argument; rates are estimates of the line, about one a second. */
export class LineFollower {
  /** @type {{atMs: number, bitrateBps: number}[]} */
  #rates = [];
  /** @type {SendChoice | undefined} */
  #current;
  /** Since when this is sent, ms. */
  #since = 0;
  /** All of the last request but its rate and its codecs. */
  #circumstances = '';

  /** @returns {SendChoice | undefined} undefined before the first estimate */
  get current() {
    return this.#current;
  }

  /**
   * @param {number} nowMs never less than at the call before
   * @param {SendRequest} request as things are now; its rate is the newest estimate
   * @returns {SendChoice} what to send from now on; the same object while nothing changes
   * @throws {RangeError} as chooseSend
   */
  update(nowMs, request) {
    const { bitrateBps, codecs, ...rest } = request;
    this.#rates = this.#rates.filter(({ atMs }) => nowMs - atMs <= RISE_MS);
    this.#rates.push({ atMs: nowMs, bitrateBps });
    const at = (/** @type {number} */ rate) => chooseSend({ ...request, bitrateBps: rate }, this.#current);
    const circumstances = JSON.stringify(rest);
    // A codec more is one more way to go up or down; what is sent in one that is gone ends at once.
    const possible = this.#current !== undefined && codecs.includes(this.#current.codec);
    const next = possible && circumstances === this.#circumstances ? this.#follow(nowMs, at) : at(bitrateBps);
    this.#circumstances = circumstances;
    if (this.#current === undefined || !same(next, this.#current)) {
      this.#current = next;
      this.#since = nowMs;
    }
    return this.#current;
  }

  /** After a change that the estimates of before say nothing about: another network. */
  reset() {
    this.#rates = [];
    this.#current = undefined;
    this.#circumstances = '';
  }

  /** @param {number} nowMs @param {(rate: number) => SendChoice} at @returns {SendChoice} */
  #follow(nowMs, at) {
    const rates = (/** @type {number} */ ms) =>
      this.#rates.filter(({ atMs }) => nowMs - atMs <= ms).map(({ bitrateBps }) => bitrateBps);
    const current = this.#current ?? at(this.#rates.at(-1)?.bitrateBps ?? 0);
    // The best of the last moments is still too little: down. The worst of a longer while is enough for more: up.
    const fallen = at(Math.max(...rates(FALL_MS)));
    if (samplesPerSecond(fallen) < samplesPerSecond(current)) return fallen;
    if (nowMs - this.#since < RISE_MS) return current;
    const risen = at(Math.min(...rates(RISE_MS)));
    const sameSize = samplesPerSecond(risen) === samplesPerSecond(current);
    if (samplesPerSecond(risen) > samplesPerSecond(current) || (sameSize && same(risen, fallen))) return risen;
    return current;
  }
}

/** @param {SendChoice} choice */
const samplesPerSecond = ({ shortSide, framesPerSecond }) => shortSide ** 2 * framesPerSecond;

/** @param {SendChoice} a @param {SendChoice} b */
const same = (a, b) => a.shortSide === b.shortSide && a.codec === b.codec && a.framesPerSecond === b.framesPerSecond;
