import { z } from 'zod';
import { network } from './network.ts';

export const targetsSection = z
  .strictObject({
    allow: z
      .array(network)
      .default([])
      .describe(
        'private, loopback and other special addresses that sources and outputs may use, `["192.168.0.0/16"]`; global ones are always allowed',
      ),
  })
  .describe('Where the server itself may connect');
