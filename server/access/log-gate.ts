/** Lets at most one line an interval and subject through: clients decide how often a warning has a cause, not how often it is logged. */
export class LogGate {
  readonly #intervalMs: number;
  readonly #lastMs = new Map<string, number>();

  constructor(intervalMs = 1000) {
    this.#intervalMs = intervalMs;
  }

  /** @param nowMs of a monotonic clock: a wall clock set back would keep the gate shut until it has caught up */
  open(subject: string, nowMs: number): boolean {
    const lastMs = this.#lastMs.get(subject);
    if (lastMs !== undefined && nowMs - lastMs < this.#intervalMs) return false;
    this.#lastMs.set(subject, nowMs);
    return true;
  }
}
