import { z } from 'zod';
import { parseNetwork } from '../../access/client-address.ts';
import { port } from './common.ts';

const isNetwork = (text: string): boolean => parseNetwork(text) !== undefined;
const network = z.string().refine(isNetwork, 'must be an address or a network such as 10.0.0.0/8');

/** Where the server listens, and whom it believes. */
export const httpSection = z
  .strictObject({
    /** Loopback by default: browsers give no camera over plain HTTP anyway, and no machine is exposed by accident. */
    host: z.string().min(1).default('127.0.0.1'),
    port: port.default(8080),
    /** PEM files; both or neither. */
    tlsCertificateFile: z.string().optional(),
    tlsKeyFile: z.string().optional(),
    /** Origins besides the server's own that may open a WebSocket, for example https://example.org. `*` allows all. */
    allowedOrigins: z.array(z.string()).default([]),
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
