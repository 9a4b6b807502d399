import type { MonotonicUs } from './types.ts';

/** Pictures that come within this time of each other are one burst: an upscaler's chunk is worth one measurement. */
const BURST_US = 200_000;
/** How long a measurement counts; shorter at first, so that a slow start is forgotten soon. */
const WINDOW_US = 3_500_000;
const FIRST_WINDOW_US = 1_000_000;
/** Room above what was needed, for timers and a busy thread. */
const MARGIN_MS = 8;
/** A delay is stepped down for no less than this: every step moves the audio too. */
const LOWER_FROM_MS = 12;
const LOWER_EVERY_US = 1_000_000;
/** If the delay rises again this soon after falling by this much, load is periodic: the window is lengthened. */
const WAVE_US = 10_000_000;
const WAVE_MS = 30;
const CALM_US = 60_000_000;
const MAX_PATIENCE = 4;

/**
 * Finds the least delay at which pictures that come in bursts can leave evenly. It follows the second worst burst of the last
 * seconds: one spike is shown late and forgotten, a second one raises the delay at once by what was missing; when bursts come
 * earlier, it falls to what they need within those seconds. Time is an argument. A call sorts the bursts of the window, at most
 * 70 (14 s at one in 200 ms).
 */
export class DelayFinder {
  #bursts: { readonly startUs: MonotonicUs; needMs: number }[] = [];
  #delayMs: number;
  #startedAtUs: MonotonicUs | undefined;
  #changedAtUs: MonotonicUs = 0;
  #loweredAtUs: MonotonicUs = -Infinity;
  #raisedAtUs: MonotonicUs = -Infinity;
  #patience = 1;

  /** @param delayMs to begin with */
  constructor(delayMs: number) {
    this.#delayMs = delayMs;
  }

  get delayMs(): number {
    return this.#delayMs;
  }

  /**
   * @param needMs from a picture's arrival until it was ready to leave
   * @param mostMs the delay never exceeds this: beyond it the upscaler does not keep up, and waiting does not help
   * @returns true when the delay was changed
   */
  add(needMs: number, nowUs: MonotonicUs, mostMs: number): boolean {
    this.#startedAtUs ??= nowUs;
    const last = this.#bursts.at(-1);
    if (last !== undefined && nowUs - last.startUs < BURST_US) last.needMs = Math.max(last.needMs, needMs);
    else this.#bursts.push({ startUs: nowUs, needMs });
    const windowUs = this.#windowUs(nowUs);
    this.#bursts = this.#bursts.filter(({ startUs }) => nowUs - startUs <= windowUs);
    const worst = this.#bursts.map((burst) => burst.needMs).sort((a, b) => b - a)[1];
    if (worst === undefined) return false;
    const wantedMs = Math.min(mostMs, Math.ceil(worst + MARGIN_MS));
    if (wantedMs > this.#delayMs + MARGIN_MS / 2) return this.#raise(wantedMs, nowUs);
    const known = nowUs - this.#startedAtUs >= windowUs && nowUs - this.#changedAtUs >= LOWER_EVERY_US;
    if (known && wantedMs <= this.#delayMs - LOWER_FROM_MS) return this.#lower(wantedMs, nowUs);
    return false;
  }

  /** Discards the measurements; the delay stays until there are new ones. */
  forget(): void {
    this.#bursts = [];
    this.#startedAtUs = undefined;
  }

  #windowUs(nowUs: MonotonicUs): number {
    const ageUs = nowUs - (this.#startedAtUs ?? nowUs);
    return this.#patience * Math.min(WINDOW_US, Math.max(FIRST_WINDOW_US, ageUs / 2));
  }

  #raise(delayMs: number, nowUs: MonotonicUs): true {
    if (nowUs - this.#loweredAtUs < WAVE_US) this.#patience = Math.min(MAX_PATIENCE, 2 * this.#patience);
    this.#loweredAtUs = -Infinity;
    this.#raisedAtUs = this.#changedAtUs = nowUs;
    this.#delayMs = delayMs;
    return true;
  }

  #lower(delayMs: number, nowUs: MonotonicUs): true {
    if (nowUs - this.#raisedAtUs > CALM_US) this.#patience = 1;
    if (this.#delayMs - delayMs >= WAVE_MS) this.#loweredAtUs = nowUs;
    this.#changedAtUs = nowUs;
    this.#delayMs = delayMs;
    return true;
  }
}
