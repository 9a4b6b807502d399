import { randomBytes, timingSafeEqual } from 'node:crypto';
import { digestOf } from './bearer.ts';
import { notValid, type Identity, type Verifier } from './identity.ts';
import type { Rights } from './rights.ts';

/** A token as the configuration has it. */
export interface TokenEntry {
  /** For logs. */
  readonly name: string;
  /** `sha256:` and the digest in base64url. */
  readonly hash: string;
  readonly publish: readonly string[];
  readonly watch: readonly string[];
  readonly playback: readonly string[];
  readonly rooms: readonly string[];
  readonly metrics: boolean;
  readonly admin: boolean;
  /** ISO 8601. */
  readonly expires?: string | undefined;
}

interface Known {
  readonly digest: Buffer;
  readonly identity: Identity;
}

/**
 * Tokens that the configuration lists by their digests. They are 192 random bits (makeToken), so that one round of SHA-256 is
 * enough: there is nothing to guess from a dictionary.
 */
export class StaticTokens implements Verifier {
  #known: readonly Known[] = [];
  readonly #now: () => number;

  constructor(entries: readonly TokenEntry[], now: () => number = Date.now) {
    this.#now = now;
    this.replace(entries);
  }

  /** In place of all entries so far. */
  replace(entries: readonly TokenEntry[]): void {
    this.#known = entries.map(({ name, hash, expires, ...given }) => {
      const { publish, watch, playback, rooms, metrics, admin } = given;
      const rights: Rights = { publish, watch, playback, rooms, metrics, admin };
      const expiresAtMs = expires === undefined ? undefined : Date.parse(expires);
      const digest = Buffer.from(hash.replace(/^sha256:/, ''), 'base64url');
      return { digest, identity: { subject: name, renewable: undefined, entry: hash, rights, expiresAtMs } };
    });
  }

  /** Without a credential: whoever showed that of an entry. @returns undefined for one that is no more, or has expired */
  ofEntry(hash: string): Identity | undefined {
    const found = this.#known.find(({ identity }) => identity.entry === hash)?.identity;
    return found?.expiresAtMs !== undefined && found.expiresAtMs <= this.#now() ? undefined : found;
  }

  /** Every entry is compared, whichever fits: the time says neither whether one does nor how far. */
  async identify(credential: string): Promise<Identity> {
    const digest = digestOf(credential);
    let found: Identity | undefined;
    for (const { digest: known, identity } of this.#known) {
      if (timingSafeEqual(known, digest)) found = identity;
    }
    if (found === undefined) throw notValid();
    if (found.expiresAtMs !== undefined && found.expiresAtMs <= this.#now()) throw notValid('The token has expired.');
    return found;
  }
}

/** A new token, 192 random bits in base64url. */
export function makeToken(): string {
  return randomBytes(24).toString('base64url');
}

/** What the configuration keeps of a token. */
export function tokenHash(token: string): string {
  return `sha256:${digestOf(token).toString('base64url')}`;
}
