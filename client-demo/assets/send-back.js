/** @import {CaptureKind} from './errors.js' */

/** From this rate on a line takes the publisher's own result beside what it sends. */
const WIDE_BPS = 1_000_000;
/** Below this it does so no longer. */
const THIN_BPS = 700_000;
/** The estimate must stay on one side for this long, ms: at first it is a guess, later it falls for moments. */
const STEADY_MS = 4000;

/**
 * Whether the publisher's page gets the result of its own broadcast. It costs as much as a viewer's picture: by default it comes on
 * lines of 1 Mbit/s or more alone, and of the sample clip, which is there to be compared. Time is an argument.
 */
export class SendBackRule {
  /** @type {{atMs: number, bps: number}[]} */
  #rates = [];
  #sinceMs = 0;
  #back = false;

  /**
   * Once a second.
   * @param {number} nowMs
   * @param {object} now
   * @param {CaptureKind} now.kind of source
   * @param {boolean | undefined} now.choice the person's own; undefined: the rule decides
   * @param {number} now.maxBitrateBps what the person lets the upload have
   * @param {number | undefined} now.lineBps the measured line; undefined: not known
   */
  update(nowMs, { kind, choice, maxBitrateBps, lineBps }) {
    if (choice !== undefined) this.#back = choice;
    else if (kind === 'sample') this.#back = true;
    else if (maxBitrateBps < WIDE_BPS) this.#back = false;
    else this.#follow(nowMs, lineBps);
    return this.#back;
  }

  /** Another broadcast: nothing is known of its line. */
  reset() {
    this.#rates = [];
    this.#back = false;
  }

  /** @param {number} nowMs @param {number | undefined} bps */
  #follow(nowMs, bps) {
    if (bps === undefined) return;
    if (this.#rates.length === 0) this.#sinceMs = nowMs;
    this.#rates.push({ atMs: nowMs, bps });
    this.#rates = this.#rates.filter(({ atMs }) => nowMs - atMs <= STEADY_MS);
    if (nowMs - this.#sinceMs < STEADY_MS) return;
    const rates = this.#rates.map((rate) => rate.bps);
    if (Math.min(...rates) >= WIDE_BPS) this.#back = true;
    else if (Math.max(...rates) < THIN_BPS) this.#back = false;
  }
}
