/** Keeps a phone's screen on while something is live, and takes it back after the page was hidden. */
export class WakeLock {
  /** @type {WakeLockSentinel | undefined} */
  #sentinel;
  #wanted = false;

  constructor() {
    document.addEventListener('visibilitychange', () => void this.#update());
  }

  /** @param {boolean} wanted */
  set(wanted) {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    void this.#update();
  }

  async #update() {
    if (!this.#wanted) {
      await this.#sentinel?.release().catch(() => {});
      this.#sentinel = undefined;
    } else if (document.visibilityState === 'visible' && 'wakeLock' in navigator) {
      this.#sentinel = await navigator.wakeLock.request('screen').catch(() => undefined);
    }
  }
}
