/** For /readyz. */
export interface Readiness {
  readonly ready: boolean;
  readonly reason: string;
}

/**
 * Whether new sessions belong here. A server that is full is ready: it answers 503 or 307 itself, and a balancer that took it away would
 * take its viewers' reconnects along. One of several engines that is lost leaves the others at work.
 */
export function readinessOf(draining: boolean, engines: readonly { readonly lost: boolean }[]): Readiness {
  if (draining) return { ready: false, reason: 'draining' };
  if (engines.length > 0 && engines.every(({ lost }) => lost)) return { ready: false, reason: 'engine lost' };
  return { ready: true, reason: 'accepting sessions' };
}
