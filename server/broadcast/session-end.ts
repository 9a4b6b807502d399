/** setTimeout takes no more, 24.8 days. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Calls `end` once the wall clock has reached a time; a clock that was set back is asked again.
 * @param atMs milliseconds of the wall clock; undefined: never
 * @returns cancels
 */
export function endAt(atMs: number | undefined, end: () => void, now: () => number = Date.now): () => void {
  if (atMs === undefined) return () => {};
  let timer: NodeJS.Timeout;
  const wait = (): void => {
    const leftMs = atMs - now();
    timer = setTimeout(() => (now() >= atMs ? end() : wait()), Math.min(Math.max(1, leftMs), MAX_TIMEOUT_MS)).unref();
  };
  wait();
  return () => clearTimeout(timer);
}
