/** A tab that closes or reloads lets its lock go a moment after the next page has started. */
const PATIENCE_MS = 500;

/**
 * One tab of a browser is live under a name: the others learn of it instead of taking the broadcast over. Web Locks exist in
 * secure pages only; elsewhere every name counts as free.
 */
export class LiveLock {
  #release = () => {};

  /** @param {string} name @returns {Promise<boolean>} false: another tab is live under this name */
  async take(name) {
    this.release();
    return new Promise((resolve) => {
      const held = () =>
        new Promise((release) => {
          this.#release = () => release(undefined);
          resolve(true);
        });
      void request(name, held).then((taken) => taken || resolve(false));
    });
  }

  release() {
    this.#release();
    this.#release = () => {};
  }
}

/** @param {string} name */
export async function isLiveElsewhere(name) {
  return !(await request(name, async () => undefined));
}

export function locksWork() {
  return 'locks' in navigator;
}

/** @param {string} name @param {() => Promise<unknown>} held @returns {Promise<boolean>} whether the lock came in time */
async function request(name, held) {
  if (!locksWork()) {
    void held();
    return true;
  }
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    await navigator.locks.request(`flashvsr-live.live.${name}`, { signal }, held);
    return true;
  } catch {
    return false;
  }
}
