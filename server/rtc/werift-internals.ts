import type { TurnProtocol } from 'werift';

/**
 * Every use of werift's private members, so that a new version of werift has one file to be checked against;
 * test/werift-internals.test.ts fails when one of the members is gone.
 */
export const WERIFT_VERSION = '0.25.2';

/** How often a TURN client binds its channels again, for those bound from now on. */
export function refreshChannelsEvery(turn: TurnProtocol, seconds: number): void {
  (turn as unknown as { channelRefreshTime: number }).channelRefreshTime = seconds;
}
