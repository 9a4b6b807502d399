import { z } from 'zod';
import { port } from './common.ts';

/** A STUN or TURN server as RTCPeerConnection takes it, or with the secret that its credentials are made from. */
const iceServer = z.object({
  urls: z.string(),
  username: z.string().exactOptional(),
  credential: z.string().exactOptional(),
  secret: z.string().min(1).exactOptional(),
  lifetimeSeconds: z.number().int().min(60).max(604_800).exactOptional(),
});
export type IceServerSetting = Readonly<z.infer<typeof iceServer>>;
/** As a peer gets it. */
export type IceServer = Pick<IceServerSetting, 'urls' | 'username' | 'credential'>;

export const iceSection = z
  .strictObject({
    servers: z
      .array(iceServer)
      .default([])
      .describe(
        'STUN and TURN: `[{"urls":"turn:host:3478","username":"u","credential":"p"}]`; instead of `credential` the `secret` of ' +
          'coturn’s `use-auth-secret` with `lifetimeSeconds` (86400)',
      ),
    portRange: z
      .tuple([port.min(1024), port.min(1024)])
      .refine(([low, high]) => high >= low, 'the second port must not be below the first')
      .optional()
      .describe('UDP ports, `[50000, 50200]`; without it any'),
    additionalHostAddresses: z.array(z.string()).default([]).describe('public addresses behind NAT or in a container'),
    ipv6: z.boolean().default(false).describe('gather IPv6 candidates'),
    interfaceAddresses: z
      .array(z.string())
      .default([])
      .describe('only these local addresses; without any all of them, or loopback alone when `http.host` is loopback'),
  })
  .describe('How peers reach this server over UDP');
