/** Time as an argument, so that tests decide how it passes. */
export interface Clock {
  /** Monotonic. */
  nowMs(): number;
  /** @returns what cancels it */
  after(delayMs: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    timer.unref(); // a handshake alone keeps no process alive
    return () => clearTimeout(timer);
  },
};
