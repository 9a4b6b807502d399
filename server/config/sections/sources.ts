import { z } from 'zod';
import { bearerToken, broadcastNameText, positive } from './common.ts';

/** What `url` may begin with, as URL.protocol has it. */
const SOURCE_SCHEMES = ['rtsp:', 'rtsps:', 'rtmp:', 'rtmps:', 'srt:', 'http:', 'https:', 'file:'] as const;

const SCHEME_NAMES = SOURCE_SCHEMES.map((scheme) => scheme.slice(0, -1)).join(', ');

const sourceUrl = z.string().superRefine((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const known = (SOURCE_SCHEMES as readonly string[]).includes(url?.protocol ?? '');
  if (known && (url?.host !== '' || url.protocol === 'file:')) return;
  context.addIssue({ code: 'custom', message: `must be an address whose scheme is one of ${SCHEME_NAMES}` });
});

const fields = z.strictObject({
  /** The broadcast that it becomes. */
  name: broadcastNameText,
  /** Left out, the scheme of the address says what it is; `https` and `http` are HLS then. */
  type: z.literal('whep').optional(),
  url: sourceUrl,
  /** WHEP: for the origin of `url` alone. */
  bearer: bearerToken.optional(),
  /** RTSP: how the packets come. UDP loses some on bad links, TCP none. */
  transport: z.enum(['tcp', 'udp']).default('tcp'),
  /** A source that does not open, or sends nothing, for this long is given up and tried again. */
  timeoutSeconds: positive.max(120).default(10),
  /** Wait before a lost source is tried again; it doubles with every failure in a row. */
  retrySeconds: positive.max(600).default(1),
  maxRetrySeconds: positive.max(3600).default(30),
});

const source = fields.superRefine(({ type, url, bearer }, context) => {
  if (type !== 'whep') {
    if (bearer === undefined) return;
    context.addIssue({ code: 'custom', path: ['bearer'], message: 'is for sources of type whep' });
    return;
  }
  const { protocol, username } = URL.canParse(url) ? new URL(url) : { protocol: '', username: '' };
  if (!['http:', 'https:'].includes(protocol)) {
    context.addIssue({ code: 'custom', path: ['url'], message: 'of type whep must begin with https:// or http://' });
  }
  if (username !== '') {
    context.addIssue({ code: 'custom', path: ['url'], message: 'must not have a user; use "bearer"' });
  }
});

/** What a client of the API may ask for: files of the server's machine are for its configuration. */
export const requestedSource = source.refine(({ url }) => !/^\s*file:/i.test(url), {
  path: ['url'],
  error: 'must not be a file: those are played by `sources` of the configuration alone',
});

/** One pulled stream. */
export type SourceConfig = Readonly<z.infer<typeof source>>;

/** Streams that the server fetches itself: a list, one entry a broadcast. */
export const sourcesList = z
  .array(source)
  .default([])
  .superRefine((sources, context) => {
    const names = sources.map(({ name }) => name);
    names.forEach((name, index) => {
      if (names.indexOf(name) === index) return;
      context.addIssue({ code: 'custom', path: [index, 'name'], message: `"${name}" names another source already` });
    });
  });
