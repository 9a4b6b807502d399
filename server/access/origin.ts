import { AppError } from '../errors.ts';
import { hostName, isLoopbackHost } from './address.ts';

/**
 * Which pages may talk to this server from a browser. Browsers send `Origin` with every WebSocket handshake and do not
 * apply the same-origin policy to it (RFC 6455 section 10.2), so the server has to. Programs send none and are let in.
 */
export interface OriginRequest {
  /** Request headers, as Node gives them. */
  readonly origin: string | undefined;
  readonly host: string | undefined;
}

export interface OriginPolicy {
  /** Origins besides the server's own; `*` allows all. */
  readonly allowedOrigins: readonly string[];
  /**
   * True when the server listens on a loopback address. Its "own host" is then one of the loopback names only: a foreign
   * page whose DNS name was pointed at 127.0.0.1 (DNS rebinding) sends equal Origin and Host and must not pass, also when
   * that name begins with "127.".
   */
  readonly loopbackOnly: boolean;
}

/** @throws AppError request.origin */
export function checkOrigin({ origin, host }: OriginRequest, { allowedOrigins, loopbackOnly }: OriginPolicy): void {
  if (origin === undefined || allowedOrigins.includes('*') || allowedOrigins.includes(origin)) return;
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  const own = url !== undefined && host !== undefined && url.host === hostAsIn(host, url.protocol);
  if (own && (!loopbackOnly || isLoopbackHost(url.hostname))) return;
  const shown = origin.slice(0, 200);
  throw new AppError('request.origin', `A page of ${shown} may not use this server.`, {
    context: { origin: shown, host },
    remedy: `Open the page from this server, or add "${shown}" to http.allowedOrigins.`,
  });
}

/** The Host header as the URL parser writes it after this scheme: canonical name, no default port. */
function hostAsIn(host: string, protocol: string): string | undefined {
  if (hostName(host) === undefined) return undefined;
  const url = `${protocol}//${host}`;
  return URL.canParse(url) ? new URL(url).host : undefined;
}
