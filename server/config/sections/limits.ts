import { z } from 'zod';
import { count, positive } from './common.ts';

export const limitsSection = z
  .strictObject({
    maxBroadcasts: z
      .union([z.literal('auto'), count])
      .default('auto')
      .describe('broadcasts at once; `auto` follows cores, threads and the model'),
    maxViewersPerBroadcast: count.default(50).describe('viewers of one broadcast'),
    maxViewers: count.default(100).describe('viewers of all broadcasts'),
    maxBroadcastsPerAddress: count
      .default(16)
      .describe('publishers of one address, those without a picture yet included'),
    maxViewersPerAddress: count.default(64).describe('viewers of one address'),
    maxSockets: count.default(4096).describe('TCP connections of all kinds, WebSockets included'),
    maxSocketsPerAddress: count
      .default(256)
      .describe('the same of one address (at least `maxConnectionsPerAddress` + 16); an IPv6 /64 is one address'),
    maxConnectionsPerAddress: count.default(64).describe('WebSockets of one address'),
    maxRequestsPerSecond: positive
      .default(200)
      .describe(
        'HTTP requests of one address, averaged over 5 s; `/metrics` and `/debug/state` count as 20. Others wait, by turns of its connections',
      ),
    maxMessageBytes: count.default(128 * 1024).describe('size of a message on a WebSocket'),
    maxMessagesPerSecond: positive.default(20).describe('messages on a WebSocket, averaged over ten seconds'),
    maxWhipRequestsPerSecond: positive
      .default(20)
      .describe('WHIP and WHEP requests of one address, averaged over ten seconds'),
    maxSourcePixels: count.default(1920 * 1088).describe('larger sources are refused'),
    maxResultPixels: count
      .default(3840 * 2160)
      .describe(
        'no larger results: a smaller model or resize is taken for a large source (not FlashVSR: its memory decides)',
      ),
  })
  .describe('What one client, one address and all of them together may take');
