/**
 * Waits for a state, however quick or slow the machine is; the limit only ends a test that would never pass.
 * @param what for the failure's message; the probe's source where that says enough
 * @returns what the probe answered
 */
export async function until<T>(
  probe: () => T | Promise<T>,
  what: string | (() => string) = probe.toString(),
  withinMs = 60_000,
): Promise<NonNullable<T>> {
  const end = performance.now() + withinMs;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (performance.now() > end)
      throw new Error(`Not within ${withinMs} ms: ${typeof what === 'string' ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
