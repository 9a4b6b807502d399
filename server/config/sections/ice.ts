import { z } from 'zod';
import { port } from './common.ts';

/** A STUN or TURN server as RTCPeerConnection takes it. */
const iceServer = z.object({
  urls: z.string(),
  username: z.string().exactOptional(),
  credential: z.string().exactOptional(),
});
export type IceServer = Readonly<z.infer<typeof iceServer>>;

/** How peers reach this server over UDP. */
export const iceSection = z.strictObject({
  servers: z.array(iceServer).default([]),
  portRange: z
    .tuple([port.min(1024), port.min(1024)])
    .refine(([low, high]) => high >= low, 'the second port must not be below the first')
    .optional(),
  additionalHostAddresses: z.array(z.string()).default([]),
  ipv6: z.boolean().default(false),
  /** Empty: all interfaces, or 127.0.0.1 alone when http.host is a loopback address. */
  interfaceAddresses: z.array(z.string()).default([]),
});
