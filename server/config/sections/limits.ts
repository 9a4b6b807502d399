import { z } from 'zod';
import { count, positive } from './common.ts';

/** What one client, one address and all of them together may take. */
export const limitsSection = z.strictObject({
  /** `auto`: as many as the machine's cores or the model's memory allow. */
  maxBroadcasts: z.union([z.literal('auto'), count]).default('auto'),
  maxViewersPerBroadcast: count.default(50),
  maxViewers: count.default(100),
  /** Publishers of one address, those that have not sent a picture yet included. */
  maxBroadcastsPerAddress: count.default(16),
  maxViewersPerAddress: count.default(64),
  /** TCP connections of all kinds, WebSockets included: in total, and of one address (an IPv6 /64 counts as one). */
  maxSockets: count.default(4096),
  maxSocketsPerAddress: count.default(256),
  /** WebSockets of one address. */
  maxConnectionsPerAddress: count.default(64),
  /** HTTP requests a second and address, averaged over five seconds; /metrics and /debug/state count as twenty. Others wait. */
  maxRequestsPerSecond: positive.default(200),
  maxMessageBytes: count.default(128 * 1024),
  /** Requests a second and socket, averaged over ten seconds. */
  maxMessagesPerSecond: positive.default(20),
  /** Requests a second of one address to WHIP and WHEP, averaged over ten seconds. */
  maxWhipRequestsPerSecond: positive.default(20),
  maxSourcePixels: count.default(1920 * 1088),
  /** Of results: a source that would become larger gets a smaller scale. */
  maxResultPixels: count.default(3840 * 2160),
});
