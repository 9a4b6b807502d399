import { z } from 'zod';

/** Exact, or with a star at its end. */
const names = z.array(
  z
    .string()
    .regex(
      /^(?:[A-Za-z0-9][A-Za-z0-9._/-]{0,128})?\*?$/,
      'must be a name such as "stage", or a beginning and a star: "room/*", "*"',
    )
    .min(1),
);

const token = z.strictObject({
  /** In logs; never the token itself. */
  name: z.string().regex(/^[\w.-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, dashes and underscores'),
  hash: z
    .string()
    .regex(
      /^sha256:[\w-]{43}$/,
      'must be made by `npm run cli -- token`: the configuration keeps no token, only its hash',
    ),
  publish: names.default([]),
  watch: names.default([]),
  playback: names.default([]),
  rooms: names.default([]),
  metrics: z.boolean().default(false),
  admin: z.boolean().default(false),
  expires: z.iso.datetime({ offset: true }).exactOptional(),
});

/** Where the server asks; a key may stand in the query. */
const askedUrl = z.string().superRefine((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && ['http:', 'https:'].includes(url.protocol) && url.username === '') return;
  context.addIssue({ code: 'custom', message: 'must be an http or https address without user and password' });
});

const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512'] as const;
const KEY_SET_ALGORITHMS = [
  ...(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const),
  ...(['ES256', 'ES384', 'ES512', 'EdDSA'] as const),
] as const;

/** 256 bits: RFC 7518 section 3.2. */
const secret = z.string().min(32, 'must have at least 32 characters');

export const accessSection = z
  .strictObject({
    mode: z
      .enum(['open', 'tokens', 'jwt', 'webhook'])
      .optional()
      .describe(
        'who may publish and watch: everybody, those with a token of `access.tokens`, with a JSON Web Token, or whom a program of yours admits; without it `open`, which a server that others reach must write out',
      ),
    lan: z
      .boolean()
      .default(false)
      .describe(
        'for your own network: HTTPS on all addresses with a kept self-signed certificate, links with a kept key are printed at the start',
      ),
    lanFolder: z
      .string()
      .min(1)
      .exactOptional()
      .describe("where `--lan` keeps certificate and keys; the user's state folder without it"),
    public: names
      .default([])
      .describe(
        'names that may be watched without a token (`["*"]`, `["lobby/*"]`), unless `access.mode` is `webhook`',
      ),
    tokens: z
      .array(token)
      .default([])
      .describe('tokens by their hashes and rights; `npm run cli -- token` makes an entry (docs/access.md)'),
    jwtSecret: secret.exactOptional().describe('the shared secret of JSON Web Tokens (HS256)'),
    jwksUrl: askedUrl.exactOptional().describe('the key set of an identity provider, instead of a secret (RFC 7517)'),
    jwtAlgorithms: z
      .array(z.enum([...SECRET_ALGORITHMS, ...KEY_SET_ALGORITHMS]))
      .min(1)
      .exactOptional()
      .describe(
        'the algorithms that are accepted; without it HS256 for a secret, RS256, ES256 and EdDSA for a key set',
      ),
    jwtIssuer: z.string().min(1).exactOptional().describe('what `iss` of a JSON Web Token must be'),
    jwtAudience: z.string().min(1).exactOptional().describe('what `aud` of a JSON Web Token must have'),
    webhookUrl: askedUrl.exactOptional().describe("the address that is asked, in the format of MediaMTX's hook"),
    endAtExpiry: z.boolean().default(false).describe('a session ends when its token does, not only new ones'),
    linkSeconds: z
      .number()
      .int()
      .min(60)
      .max(30 * 86_400)
      .default(6 * 3600)
      .describe('how long the link for viewers works that a publisher copies from the page'),
    linkSecret: secret.exactOptional().describe('signs those links; without it they end with the process'),
    failureDelayMs: z
      .number()
      .min(0)
      .max(2000)
      .default(200)
      .describe(
        'how long the answer to a wrong token is held back; it doubles with every one of an address, up to 16 times',
      ),
  })
  .superRefine((access, context) => {
    for (const [key, message] of problemsOf(access)) context.addIssue({ code: 'custom', path: [key], message });
  })
  .describe('Who may publish, watch and operate (docs/access.md)');

interface Given {
  readonly mode?: string | undefined;
  readonly lan: boolean;
  readonly public: readonly string[];
  readonly tokens: readonly { readonly name: string }[];
  readonly jwtSecret?: string;
  readonly jwksUrl?: string;
  readonly jwtAlgorithms?: readonly string[];
  readonly webhookUrl?: string;
}

function* problemsOf(access: Given): Generator<[key: string, message: string]> {
  const { mode, lan, tokens, jwtSecret, jwksUrl, webhookUrl } = access;
  if (lan && mode !== undefined && mode !== 'tokens')
    yield ['lan', 'works with access.mode tokens alone, which it sets'];
  if (mode === 'tokens' && !lan && tokens.length === 0) {
    yield ['tokens', 'must have an entry when access.mode is tokens; make one with `npm run cli -- token`'];
  }
  const taken = tokens.map(({ name }) => name);
  if (new Set(taken).size < taken.length) yield ['tokens', 'must have different names'];
  if (mode === 'webhook' && webhookUrl === undefined) yield ['webhookUrl', 'must be given when access.mode is webhook'];
  if (mode === 'webhook' && access.public.length > 0)
    yield ['public', 'must be empty: the hook decides about every name'];
  if (mode === 'jwt' && jwtSecret === undefined && jwksUrl === undefined) {
    yield ['jwtSecret', 'or jwksUrl must be given when access.mode is jwt'];
  }
  if (jwtSecret !== undefined && jwksUrl !== undefined) yield ['jwksUrl', 'must not be given beside jwtSecret'];
  // A public key as the secret of HS256 would let everybody sign (RFC 8725 section 2.1).
  const fitting: readonly string[] = jwksUrl === undefined ? SECRET_ALGORITHMS : KEY_SET_ALGORITHMS;
  const wrong = access.jwtAlgorithms?.find((algorithm) => !fitting.includes(algorithm));
  if (wrong !== undefined)
    yield ['jwtAlgorithms', `cannot have ${wrong} with ${jwksUrl === undefined ? 'a secret' : 'a key set'}`];
}
