import { AppError } from '../errors.ts';
import type { Rights } from './rights.ts';

/** Who a credential is, and what it permits. */
export interface Identity {
  /** For the log: a token's name, a JWT's `sub`. Never the credential. */
  readonly subject: string | undefined;
  /**
   * What stays the same when the credential is renewed (issuer and subject of a JWT); undefined: the credential itself. For
   * digests alone.
   */
  readonly renewable: string | undefined;
  /** Of a token of the configuration: its hash there. For digests alone. */
  readonly entry?: string | undefined;
  readonly rights: Rights;
  /** Milliseconds of the wall clock; undefined: it does not end. */
  readonly expiresAtMs: number | undefined;
}

/** One kind of credential. */
export interface Verifier {
  /** @throws AppError request.unauthorized | access.unavailable; no message has the credential or a part of it */
  identify(credential: string): Promise<Identity>;
}

const REMEDY = 'Use a valid token: the link, key or login that you were given.';

export function notValid(message = 'The token is not valid.', cause?: unknown): AppError {
  return new AppError('request.unauthorized', message, { remedy: REMEDY, cause });
}

export function noCredential(): AppError {
  return new AppError('request.unauthorized', 'This server asks for a token, and the request has none.', {
    remedy: 'Open the link that you were given, or send the token as "Authorization: Bearer".',
  });
}
