import { z } from 'zod';
import { port } from './common.ts';

/** How peers reach this server over UDP. */
export const iceSection = z.strictObject({
  servers: z
    .array(z.object({ urls: z.string(), username: z.string().optional(), credential: z.string().optional() }))
    .default([]),
  portRange: z
    .tuple([port.min(1024), port.min(1024)])
    .refine(([low, high]) => high >= low, 'the second port must not be below the first')
    .optional(),
  additionalHostAddresses: z.array(z.string()).default([]),
  ipv6: z.boolean().default(false),
  /** Empty: all interfaces, or 127.0.0.1 alone when http.host is a loopback address. */
  interfaceAddresses: z.array(z.string()).default([]),
});
