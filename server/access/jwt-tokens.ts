import { createRemoteJWKSet, customFetch, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import { AppError } from '../errors.ts';
import { exchange } from './exchange.ts';
import { notValid, type Identity, type Verifier } from './identity.ts';
import { rightsOfClaims } from './jwt-claims.ts';
import type { TargetPolicy } from './target-policy.ts';

export interface JwtSettings {
  /** One of the two. */
  readonly jwtSecret?: string | undefined;
  readonly jwksUrl?: string | undefined;
  /** Those that are accepted, whatever a token's header says (RFC 8725 section 3.1). */
  readonly jwtAlgorithms?: readonly string[] | undefined;
  readonly jwtIssuer?: string | undefined;
  readonly jwtAudience?: string | undefined;
}

const SECRET_ALGORITHMS = ['HS256'];
const KEY_SET_ALGORITHMS = ['RS256', 'ES256', 'EdDSA'];
/** Clocks of two machines differ. */
const TOLERANCE_S = 30;
const KEY_SET_WITHIN_MS = 5000;
/** A key that is not in the set makes it be fetched again, but not more often: strangers choose `kid`. */
const COOLDOWN_MS = 30_000;
const KEY_SET_AGE_MS = 600_000;
const MAX_SUBJECT_CHARACTERS = 128;

/** JSON Web Tokens (RFC 7519) by a shared secret or the keys of an identity provider (RFC 7517). */
export class JwtTokens implements Verifier {
  readonly #key: Uint8Array | JWTVerifyGetKey;
  readonly #settings: JwtSettings;
  readonly #now: () => number;

  /** @param cooldownMs between two fetches of the key set; for tests */
  constructor(
    settings: JwtSettings,
    policy: TargetPolicy,
    { now = Date.now, cooldownMs = COOLDOWN_MS }: { readonly now?: () => number; readonly cooldownMs?: number } = {},
  ) {
    const { jwtSecret, jwksUrl } = settings;
    this.#settings = settings;
    this.#now = now;
    if (jwksUrl === undefined) {
      if (jwtSecret === undefined)
        throw new AppError('config.invalid', 'JWT needs access.jwtSecret or access.jwksUrl.');
      this.#key = new TextEncoder().encode(jwtSecret);
      return;
    }
    this.#key = createRemoteJWKSet(new URL(jwksUrl), {
      timeoutDuration: KEY_SET_WITHIN_MS,
      cooldownDuration: cooldownMs,
      cacheMaxAge: KEY_SET_AGE_MS,
      [customFetch]: (url: string) => fetchKeySet(url, policy),
    });
  }

  async identify(credential: string): Promise<Identity> {
    const payload = await this.#verified(credential);
    const { iss = '', exp = 0 } = payload;
    // jose leaves its type to us (RFC 7519 section 4.1.2).
    const sub: unknown = payload.sub;
    if (sub !== undefined && typeof sub !== 'string') throw notValid('The token is not valid: sub is no text.');
    return {
      subject: sub?.slice(0, MAX_SUBJECT_CHARACTERS),
      renewable: sub === undefined ? undefined : JSON.stringify([iss, sub]),
      rights: rightsOfClaims(payload),
      expiresAtMs: exp * 1000,
    };
  }

  async #verified(credential: string): Promise<JWTPayload> {
    const { jwksUrl, jwtIssuer, jwtAudience } = this.#settings;
    const algorithms = this.#settings.jwtAlgorithms ?? (jwksUrl === undefined ? SECRET_ALGORITHMS : KEY_SET_ALGORITHMS);
    const options = {
      algorithms: [...algorithms],
      requiredClaims: ['exp'],
      clockTolerance: TOLERANCE_S,
      currentDate: new Date(this.#now()),
      ...(jwtIssuer === undefined ? {} : { issuer: jwtIssuer }),
      ...(jwtAudience === undefined ? {} : { audience: jwtAudience }),
    };
    const key = this.#key;
    try {
      const verified =
        typeof key === 'function'
          ? await jwtVerify(credential, key, options)
          : await jwtVerify(credential, key, options);
      return verified.payload;
    } catch (thrown) {
      throw problemOf(thrown);
    }
  }
}

/** What failed: the token, or the way to the keys. No message of jose's or of a target's reaches the client. */
function problemOf(thrown: unknown): AppError {
  if (thrown instanceof errors.JWTExpired) return notValid('The token has expired.', thrown);
  const ofKeySet = thrown instanceof errors.JWKSTimeout || thrown instanceof errors.JWKSInvalid;
  // fetchKeySet's own errors pass through jose unchanged; "Expected 200 OK" is a plain JOSEError.
  const plain = thrown instanceof errors.JOSEError && thrown.code === 'ERR_JOSE_GENERIC';
  if (ofKeySet || plain || !(thrown instanceof errors.JOSEError)) {
    return new AppError('access.unavailable', 'The keys that tokens are checked with cannot be read now.', {
      cause: thrown,
    });
  }
  return notValid('The token is not valid.', thrown);
}

/** No redirects: the address that the operator wrote, or nothing. */
async function fetchKeySet(url: string, policy: TargetPolicy): Promise<Response> {
  const target = await policy.resolve(url, ['https:', 'http:']);
  const headers = { accept: 'application/jwk-set+json, application/json' };
  const { status, body } = await exchange(target, { method: 'GET', headers, withinMs: KEY_SET_WITHIN_MS });
  return new Response(status === 204 || status === 304 ? null : body, {
    status: status >= 200 && status <= 599 ? status : 502,
  });
}
