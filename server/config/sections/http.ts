import { z } from 'zod';
import { port } from './common.ts';
import { network } from './network.ts';

/** An http(s) address without user, query and fragment, which ends in no slash. */
const webUrl = z.string().superRefine((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url !== undefined && url.username === '' && url.search === '' && url.hash === '';
  if (plain && ['http:', 'https:'].includes(url.protocol)) return;
  context.addIssue({ code: 'custom', message: 'must be an http or https address such as https://live.example.org' });
});

/** One http(s) origin as browsers write it, `https://example.org`: no path, no slash at the end, no default port. */
const webOrigin = z.string().refine((text) => isWebOrigin(text), {
  error: 'must be an origin such as https://example.org (scheme, host and port only), or *',
});

function isWebOrigin(text: string): boolean {
  if (text === '*') return true;
  return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text;
}

export const httpSection = z
  .strictObject({
    /** Loopback by default: browsers give no camera over plain HTTP anyway, and no machine is exposed by accident. */
    host: z.string().min(1).default('127.0.0.1').describe('address to listen on (TCP); `0.0.0.0` for all'),
    port: port.default(8080).describe('TCP port of the page, the signalling, health and metrics; 0 takes a free one'),
    tlsCertificateFile: z
      .string()
      .optional()
      .describe('PEM file for HTTPS and WSS; with `http.tlsKeyFile` or not at all'),
    tlsKeyFile: z.string().optional().describe('PEM file with the key of the certificate'),
    allowedOrigins: z
      .array(z.string())
      .default([])
      .describe('other origins that may open a WebSocket or use WHIP and WHEP (`https://example.org`), `*` for all'),
    embedOrigins: z
      .array(webOrigin)
      .default([])
      .describe(
        'sites that may show `/watch/NAME?embed=1` in a frame, besides this server and `http.allowedOrigins` (`https://example.org`), `*` for all',
      ),
    publicUrl: webUrl
      .optional()
      .describe(
        'where clients reach the server (`https://live.example.org`): the start of WHIP and WHEP session addresses, for a balancer that must lead PATCH and DELETE to this server; without it they are relative',
      ),
    overflowUrl: webUrl
      .optional()
      .describe(
        'where WHIP and WHEP clients go (307) while this server is full or stopping; without it 503 with Retry-After',
      ),
    trustProxy: z
      .union([z.literal(false), z.number().int().min(1).max(8), z.array(network)], {
        error: 'must be false, a number of proxies (1 to 8) or a list of addresses and networks like ["10.0.0.0/8"]',
      })
      .default(false)
      .describe(
        'which proxies\' `X-Forwarded-For` to trust when clients are counted: a number of proxies, or `["10.0.0.0/8"]`',
      ),
    localRights: z
      .union([z.literal('auto'), z.boolean()], { error: 'must be auto, true or false' })
      .default('auto')
      .describe(
        'programs on this machine may operate the server without a token (docs/access.md); `false` behind a proxy on this machine; `auto`: unless `http.trustProxy` is set',
      ),
    metrics: z
      .union([z.enum(['loopback', 'all']), z.array(network)], {
        error: 'must be loopback, all or a list of addresses and networks like ["10.0.0.0/8"]',
      })
      .default('loopback')
      .describe(
        'who may read `/metrics`: `loopback` (programs on this machine), `all`, or addresses and networks, `["10.0.0.0/8"]`',
      ),
  })
  .superRefine(({ tlsCertificateFile, tlsKeyFile }, context) => {
    if ((tlsCertificateFile === undefined) === (tlsKeyFile === undefined)) return;
    const missing = tlsKeyFile === undefined ? 'tlsKeyFile' : 'tlsCertificateFile';
    context.addIssue({
      code: 'custom',
      path: [missing],
      message: 'certificate and key file must be given together',
    });
  })
  .describe('Where the server listens, and which clients and proxies it trusts');
