import type { Config } from '../config/config.ts';

/**
 * Everything the page needs comes from here: no inline script or style, no other host. `'self'` in connect-src covers the
 * WebSocket of the same host (CSP level 3, section 6.7.2.8); blob: is for files that the user chose to publish.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "media-src 'self' blob: mediastream:",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
];

function policy(frameAncestors: string): string {
  return [...POLICY, `frame-ancestors ${frameAncestors}`].join('; ');
}

/** Of every HTML page, those about errors included. */
export const PAGE_HEADERS = {
  'Content-Security-Policy': policy("'self'"),
  'Permissions-Policy': 'camera=(self), microphone=(self), display-capture=(self)',
  'Referrer-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
} as const;

/**
 * Of the embeddable player alone: it has nothing to press but sound, so that a site which shows it in a frame cannot make
 * people publish. A site that may use the WebSocket (`http.allowedOrigins`) may do this, too. An entry that is no http(s) origin
 * is left out: it would end the directive.
 */
export function embedHeaders({
  allowedOrigins,
  embedOrigins,
}: Pick<Config['http'], 'allowedOrigins' | 'embedOrigins'>): Readonly<Record<string, string>> {
  const origins = [...new Set([...allowedOrigins, ...embedOrigins])];
  const sites = origins.filter((origin) => URL.canParse(origin) && new URL(origin).origin === origin);
  const frameAncestors = origins.includes('*') ? '*' : ["'self'", ...sites].join(' ');
  return { ...PAGE_HEADERS, 'Content-Security-Policy': policy(frameAncestors) };
}
