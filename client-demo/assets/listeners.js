/**
 * A list of callbacks for one kind of news.
 * @template T
 */
export class Listeners {
  /** @type {Set<(value: T) => void>} */
  #callbacks = new Set();

  /**
   * @param {(value: T) => void} callback
   * @returns {() => void} takes the callback out again
   */
  add(callback) {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  /** @param {T} value */
  emit(value) {
    for (const callback of [...this.#callbacks]) callback(value);
  }
}
