/** More kicks at once than an operator makes. */
const MAX_ENTRIES = 1024;

/** Names, and credentials by their digests, that may not publish for a time. Time is an argument. */
export class Kicked {
  /** `name:` or `holder:` and the time until which it is refused; oldest first. */
  readonly #until = new Map<string, number>();

  /** @param holder digest of the credential; undefined where there was none */
  add(name: string, holder: string | undefined, untilMs: number): void {
    this.#set(`name:${name}`, untilMs);
    if (holder !== undefined) this.#set(`holder:${holder}`, untilMs);
  }

  /** @returns milliseconds left; 0 when it may publish */
  leftMs(name: string, holder: string | undefined, nowMs: number): number {
    const until = [`name:${name}`, `holder:${holder ?? ''}`].map((key) => this.#until.get(key) ?? -Infinity);
    return Math.max(0, ...until.map((untilMs) => untilMs - nowMs));
  }

  #set(key: string, untilMs: number): void {
    this.#until.delete(key);
    this.#until.set(key, untilMs);
    if (this.#until.size <= MAX_ENTRIES) return;
    const [oldest] = this.#until.keys();
    if (oldest !== undefined) this.#until.delete(oldest);
  }
}
