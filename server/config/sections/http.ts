import { z } from 'zod';
import { parseNetwork } from '../../access/client-address.ts';
import { port } from './common.ts';

const isNetwork = (text: string): boolean => parseNetwork(text) !== undefined;
const network = z.string().refine(isNetwork, 'must be an address or a network such as 10.0.0.0/8');

/** An http(s) address without user, query and fragment, which ends in no slash. */
const webUrl = z.string().superRefine((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url !== undefined && url.username === '' && url.search === '' && url.hash === '';
  if (plain && ['http:', 'https:'].includes(url.protocol)) return;
  context.addIssue({ code: 'custom', message: 'must be an http or https address such as https://live.example.org' });
});

/** Where the server listens, and whom it believes. */
export const httpSection = z
  .strictObject({
    /** Loopback by default: browsers give no camera over plain HTTP anyway, and no machine is exposed by accident. */
    host: z.string().min(1).default('127.0.0.1'),
    port: port.default(8080),
    /** PEM files; both or neither. */
    tlsCertificateFile: z.string().optional(),
    tlsKeyFile: z.string().optional(),
    /** Origins besides the server's own that may open a WebSocket or use WHIP and WHEP, for example https://example.org. `*` allows all. */
    allowedOrigins: z.array(z.string()).default([]),
    /** Where clients reach the server, for example https://live.example.org: the start of WHIP and WHEP session URLs. Left out, they are relative. */
    publicUrl: webUrl.optional(),
    /** Where WHIP and WHEP clients are sent (307) while this server is full or draining; left out, they get 503 with Retry-After. */
    overflowUrl: webUrl.optional(),
    /** Which proxies' X-Forwarded-For to trust when clients are counted: false, a number of proxies, or their addresses. */
    trustProxy: z
      .union([z.literal(false), z.number().int().min(1).max(8), z.array(network)], {
        error: 'must be false, a number of proxies (1 to 8) or a list of addresses and networks like ["10.0.0.0/8"]',
      })
      .default(false),
    /** Who may read /metrics: programs on this machine, every client, or these addresses and networks. */
    metrics: z
      .union([z.enum(['loopback', 'all']), z.array(network)], {
        error: 'must be loopback, all or a list of addresses and networks like ["10.0.0.0/8"]',
      })
      .default('loopback'),
  })
  .superRefine(({ tlsCertificateFile, tlsKeyFile }, context) => {
    if ((tlsCertificateFile === undefined) === (tlsKeyFile === undefined)) return;
    const missing = tlsKeyFile === undefined ? 'tlsKeyFile' : 'tlsCertificateFile';
    context.addIssue({
      code: 'custom',
      path: [missing],
      message: 'certificate and key file must be given together',
    });
  });
