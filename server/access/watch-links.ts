import { randomBytes } from 'node:crypto';
import { SignJWT, jwtVerify } from 'jose';
import { notValid, type Identity, type Verifier } from './identity.ts';
import { NO_RIGHTS } from './rights.ts';

/** No other credential begins so: a JWT has two dots, a static token none. */
const PREFIX = 'watch.';
const TYPE = 'watch-link';
const ALGORITHM = 'HS256';

/** A token that is the right to watch one name for a time; the publisher's page puts it into the link for viewers. */
export class WatchLinks implements Verifier {
  readonly #key: Uint8Array;
  readonly #lifetimeSeconds: number;
  readonly #now: () => number;

  /** @param secret undefined: links end with the process */
  constructor(secret: string | undefined, lifetimeSeconds: number, now: () => number = Date.now) {
    this.#key = secret === undefined ? randomBytes(32) : new TextEncoder().encode(secret);
    this.#lifetimeSeconds = lifetimeSeconds;
    this.#now = now;
  }

  static fits(credential: string): boolean {
    return credential.startsWith(PREFIX);
  }

  async make(name: string): Promise<{ readonly token: string; readonly expiresAtMs: number }> {
    const expiresAtS = Math.floor(this.#now() / 1000) + this.#lifetimeSeconds;
    const jwt = await new SignJWT({ name })
      .setProtectedHeader({ alg: ALGORITHM, typ: TYPE })
      .setExpirationTime(expiresAtS)
      .sign(this.#key);
    return { token: `${PREFIX}${jwt}`, expiresAtMs: expiresAtS * 1000 };
  }

  async identify(credential: string): Promise<Identity> {
    try {
      const { payload } = await jwtVerify<{ name: string }>(credential.slice(PREFIX.length), this.#key, {
        algorithms: [ALGORITHM],
        typ: TYPE,
        requiredClaims: ['exp', 'name'],
        currentDate: new Date(this.#now()),
      });
      const { name, exp = 0 } = payload;
      return {
        subject: `link to ${name}`,
        renewable: undefined,
        rights: { ...NO_RIGHTS, watch: [name] },
        expiresAtMs: exp * 1000,
      };
    } catch (cause) {
      throw notValid('The link is not valid or has expired.', cause);
    }
  }
}
