import { leaveProcess } from './upscalers/flashvsr/binding.ts';

/** Exit codes for a supervisor: 1 = change something before starting again, 70 = restart (EX_SOFTWARE of sysexits.h). */
export const EXIT_CONFIG = 1;
export const EXIT_RESTART = 70;

/** The longest that closing may hold up the end of a process that cannot go on. */
export const FATAL_CLOSE_MS = 5000;

/**
 * Ends the process when `closing` settles, or after `mostMs`. The timer keeps the event loop alive: a promise that never
 * settles cannot.
 */
export function leaveAfter(
  closing: Promise<void>,
  { code, mostMs, leave = leaveProcess }: { code: number; mostMs: number; leave?: (code: number) => void },
): void {
  let left = false;
  const once = (): void => {
    if (left) return;
    left = true;
    clearTimeout(timer);
    leave(code);
  };
  const timer = setTimeout(once, mostMs);
  closing.then(once, once);
}

/** Ends the process without waiting for a device that no longer answers. */
export function leaveNow(code: number): never {
  return leaveProcess(code);
}
