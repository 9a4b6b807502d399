import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

/**
 * Turns at the GPU for the inference threads of one process. onnxruntime keeps one WebGPU device a process and does not guard it against
 * two threads; in the order of asking, one frame at a time, every stream gets the same share of it.
 *
 * Two counters in shared memory: the next ticket and the one being served.
 */

const NAME = 'flashvsr gpu turns';
const NEXT = 0;
const SERVED = 1;
/** A holder that is silent for this long is gone with its thread: its turn is passed on. */
const PATIENCE_MS = 5_000;

/** Call in the main thread before pipelines start: their threads, and the threads of those, inherit the counters. */
export function prepareGpuTurns(): void {
  if (getEnvironmentData(NAME) === undefined) setEnvironmentData(NAME, new SharedArrayBuffer(8));
}

export class GpuTurns {
  readonly #counters: Int32Array;
  readonly #patienceMs: number;

  /** @param shared absent: this thread's process has no other that uses the GPU */
  constructor(
    shared = (getEnvironmentData(NAME) as SharedArrayBuffer | undefined) ?? new SharedArrayBuffer(8),
    patienceMs = PATIENCE_MS,
  ) {
    this.#counters = new Int32Array(shared);
    this.#patienceMs = patienceMs;
  }

  /** Blocks this thread until it is its turn; runs `work` and passes the turn on when that has settled. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const ticket = Atomics.add(this.#counters, NEXT, 1);
    this.#wait(ticket);
    try {
      return await work();
    } finally {
      // Not when others gave up on this thread: the turn has gone on without it.
      if (Atomics.compareExchange(this.#counters, SERVED, ticket, (ticket + 1) | 0) === ticket) this.#wake();
    }
  }

  #wait(ticket: number): void {
    for (;;) {
      const served = Atomics.load(this.#counters, SERVED);
      if (((served - ticket) | 0) >= 0) return;
      if (Atomics.wait(this.#counters, SERVED, served, this.#patienceMs) !== 'timed-out') continue;
      if (Atomics.compareExchange(this.#counters, SERVED, served, (served + 1) | 0) === served) this.#wake();
    }
  }

  #wake(): void {
    Atomics.notify(this.#counters, SERVED);
  }
}
