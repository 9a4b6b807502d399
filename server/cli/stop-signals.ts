import { constants } from 'node:os';
import { AppError } from '../errors.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type StopSignal = (typeof SIGNALS)[number];

/**
 * Ctrl-C, TERM and HUP during a job. The first ends the work in order: what is unfinished is removed, one line says so. The
 * second ends the process at once; what is unfinished is removed then, too.
 */
export class StopSignals {
  /** The first signal, for jobs that have not begun. */
  signal: StopSignal | undefined;
  readonly #onStop = new Set<(signal: StopSignal, force: boolean) => void>();
  readonly #handler = (signal: NodeJS.Signals): void => this.#on(signal as StopSignal);

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#handler);
  }

  /** @param stop is called once, and again with `force` before the process leaves @returns removes it */
  add(stop: (signal: StopSignal, force: boolean) => void): () => void {
    this.#onStop.add(stop);
    return () => void this.#onStop.delete(stop);
  }

  /** Idempotent. Signals end the process from now on. */
  close(): void {
    for (const signal of SIGNALS) process.off(signal, this.#handler);
  }

  #on(signal: StopSignal): void {
    const again = this.signal !== undefined;
    this.signal ??= signal;
    for (const stop of this.#onStop) stop(signal, again);
    if (again) process.exit(exitCodeOf(signal));
  }
}

export function isStopSignal(signal: NodeJS.Signals | null): signal is StopSignal {
  return signal !== null && (SIGNALS as readonly string[]).includes(signal);
}

/** As shells report a program that a signal ended: 128 + its number. */
export function exitCodeOf(signal: StopSignal): number {
  return 128 + constants.signals[signal];
}

export function stopped(input: string, signal: StopSignal): AppError {
  return new AppError('job.stopped', `Upscaling ${input} was stopped (${signal}); nothing of the result is kept.`, {
    context: { file: input, signal, exitCode: exitCodeOf(signal) },
  });
}
